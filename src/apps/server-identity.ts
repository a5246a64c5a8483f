import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Issuer } from '../lifecycle/model/index.js';
import type { Machine, MachineOffice } from '../lifecycle/registry/index.js';
import type { Clock } from '../platform/clock.js';
import { FemtoError } from '../platform/errors.js';
import { writeDurably } from '../platform/hsm/durable-file.js';
import type { Logger } from '../platform/log.js';
import { assembleCsr, certificationRequestInfo } from '../x509/build-csr.js';
import { certificatePem } from '../x509/certificate.js';

/**
 * The TLS identity of one of our listeners: a key in a 0600 file (Node cannot hold it in a token), certified by the
 * Services CA for 30 days and renewed, with the same key, while the listener runs (rules 1.5).
 */
export interface ServerIdentity {
  /** What `tls.createSecureContext` takes: chain (leaf first) and key, both PEM. */
  current(): { cert: string; key: string };
  /** Called when a newer certificate is on disk; hand it to `server.setSecureContext`. */
  onRenewed(listener: () => void): void;
  close(): void;
}

export interface ServerIdentityDeps {
  readonly machines: MachineOffice;
  readonly clock: Clock;
  readonly log: Logger;
  readonly certificateOf: (key: { issuerId: number; serial: Buffer; notAfter: Date }) => Promise<Buffer | null>;
  readonly issuerById: (issuerId: number) => Promise<Issuer | null>;
}

const POLL_MS = 250;
const WATCH_MS = 60_000;
const RENEW_LEFT_MS = 10 * 86_400_000;

/** Requests the row where it is missing, waits for its first certificate, and keeps it fresh. */
export async function openServerIdentity(
  deps: ServerIdentityDeps,
  identity: { name: string; dnsName: string; tlsDir: string; waitMs: number },
): Promise<ServerIdentity> {
  const keyFile = join(identity.tlsDir, `${identity.name}.key`);
  const chainFile = join(identity.tlsDir, `${identity.name}.pem`);
  const key = keyOf(keyFile);
  await ensureServerRequested(deps, { ...identity, key });
  let held = await firstCertificate(deps, identity, chainFile);
  const listeners: (() => void)[] = [];
  const watch = async (): Promise<void> => {
    const machine = await deps.machines.byName(identity.name);
    if (!machine?.notAfter) return;
    if (machine.notAfter.getTime() !== held.notAfter.getTime()) {
      const newer = await store(deps, machine, chainFile);
      if (newer === null) return;
      held = newer;
      for (const listener of listeners) listener();
      deps.log.info({ notAfter: held.notAfter }, 'server certificate renewed');
    } else if (held.notAfter.getTime() - deps.clock.now().getTime() < RENEW_LEFT_MS && !machine.renewRequestedAt) {
      await deps.machines.askRenewal({ name: identity.name, actor: `system:${identity.name}` });
    }
  };
  const timer = setInterval(() => {
    watch().catch((err: unknown) => deps.log.warn({ err }, 'the server certificate could not be looked after'));
  }, WATCH_MS);
  timer.unref();
  return {
    current: () => ({ cert: held.chainPem, key: readFileSync(keyFile, 'utf8') }),
    onRenewed: (listener) => listeners.push(listener),
    close: () => clearInterval(timer),
  };
}

/** Makes key file and machine row where they are missing; first run does this ahead and approves the row. */
export async function ensureServerRequested(
  { machines }: Pick<ServerIdentityDeps, 'machines'>,
  { name, dnsName, key }: { name: string; dnsName: string; key: KeyObject },
): Promise<void> {
  if ((await machines.byName(name)) !== null) return;
  const spkiDer = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const info = certificationRequestInfo({ commonName: null, spkiDer });
  const csrDer = assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
  await machines.request({ kind: 'server', name, dnsName, csrDer, actor: `system:${name}` });
}

/** The key in the file, made when there is none. */
export function keyOf(keyFile: string): KeyObject {
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeDurably(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
  }
  return createPrivateKey(readFileSync(keyFile));
}

interface Held {
  readonly chainPem: string;
  readonly notAfter: Date;
}

async function firstCertificate(
  deps: ServerIdentityDeps,
  { name, waitMs }: { name: string; waitMs: number },
  chainFile: string,
): Promise<Held> {
  const started = deps.clock.now().getTime();
  for (let told = false; ; await sleep(POLL_MS)) {
    const machine = await deps.machines.byName(name);
    const held = machine && (await store(deps, machine, chainFile));
    if (held && held.notAfter > deps.clock.now()) return held;
    if (machine?.state === 'requested' && !told) {
      told = true;
      deps.log.warn({ machine: name }, `waiting for approval: femtopki machine approve ${name}`);
    }
    if (deps.clock.now().getTime() - started > waitMs) {
      throw new FemtoError(
        'RETRY_LATER',
        `${name} has no TLS certificate yet; approve it with femtopki machine approve ${name}, and see that rotation-worker and signer run.`,
      );
    }
  }
}

async function store(deps: ServerIdentityDeps, machine: Machine, chainFile: string): Promise<Held | null> {
  const { issuerId, serial, notAfter } = machine;
  if (issuerId === null || serial === null || notAfter === null) return null;
  const [der, issuer] = await Promise.all([
    deps.certificateOf({ issuerId, serial, notAfter }),
    deps.issuerById(issuerId),
  ]);
  if (der === null || issuer === null) return null;
  const chainPem = certificatePem(der) + certificatePem(issuer.certificateDer);
  writeDurably(chainFile, chainPem);
  return { chainPem, notAfter };
}
