import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IssuerDirectory, Machine, MachineKind, MachineOffice } from '../lifecycle/registry/index.js';
import type { Clock } from '../platform/clock.js';
import { FemtoError } from '../platform/errors.js';
import { writeDurably } from '../platform/hsm/durable-file.js';
import type { Logger } from '../platform/log.js';
import { certificatePem, readCertificate } from '../x509/certificate.js';
import { requestOf } from './machine-request.js';

/**
 * A key of ours in a 0600 file (Node cannot hold it in a token), certified by the Services CA for 30 days by a machine
 * row that a person approved once, and renewed with the same key while the process runs (rules 1.5). Another key in the
 * file, after a loss or a compromise, is certified by the same row.
 */
export interface MachineIdentity {
  readonly key: KeyObject;
  /** Null before the first certificate, after the last one's end, and once the row is disabled. */
  current(): HeldCertificate | null;
  /** Resolves with the first certificate. @throws FemtoError RETRY_LATER, naming who must approve, after `waitMs` */
  first(waitMs: number): Promise<HeldCertificate>;
  /** Called when a newer certificate is held and on disk. */
  onRenewed(listener: () => void): void;
  close(): void;
}

export interface HeldCertificate {
  readonly certificateDer: Buffer;
  /** Services CA, then its root where we know it. */
  readonly chain: readonly Buffer[];
  readonly serial: Buffer;
  readonly notAfter: Date;
}

export interface MachineIdentityDeps {
  readonly machines: MachineOffice;
  readonly clock: Clock;
  readonly log: Logger;
  readonly certificateOf: (key: { issuerId: number; serial: Buffer; notAfter: Date }) => Promise<Buffer | null>;
  readonly issuers: Pick<IssuerDirectory, 'byId' | 'bySpkiOrSignature'>;
}

export interface MachineIdentityName {
  readonly kind: MachineKind;
  readonly name: string;
  /** Servers only. */
  readonly dnsName?: string;
  /** Holds `<name>.key` and, once there is one, `<name>.pem`. */
  readonly tlsDir: string;
  /** How often a certified identity is looked after; default a minute. */
  readonly watchMs?: number;
}

const POLL_MS = 250;
/** While a person is waited for. */
const APPROVAL_POLL_MS = 2_000;
const WATCH_MS = 60_000;
const RENEW_LEFT_MS = 10 * 86_400_000;

/** Asks for the row where it is missing, waits for its certificate without holding anybody up, and keeps it fresh. */
export function openMachineIdentity(deps: MachineIdentityDeps, identity: MachineIdentityName): MachineIdentity {
  const watched = new WatchedIdentity(deps, identity, keyOf(keyFileOf(identity)));
  watched.watch();
  return watched;
}

class WatchedIdentity implements MachineIdentity {
  private held: HeldCertificate | null = null;
  private readonly listeners: (() => void)[] = [];
  private readonly spkiHash: Buffer;
  private closed = false;
  /** What the log was told last: a wait of hours is one line. */
  private told = '';

  constructor(
    private readonly deps: MachineIdentityDeps,
    private readonly identity: MachineIdentityName,
    readonly key: KeyObject,
  ) {
    const spkiDer = createPublicKey(key).export({ type: 'spki', format: 'der' });
    this.spkiHash = createHash('sha256').update(spkiDer).digest();
  }

  current(): HeldCertificate | null {
    return this.held !== null && this.held.notAfter > this.deps.clock.now() ? this.held : null;
  }

  async first(waitMs: number): Promise<HeldCertificate> {
    for (const started = this.deps.clock.now().getTime(); ; await sleep(POLL_MS)) {
      const held = this.current();
      if (held !== null) return held;
      if (this.deps.clock.now().getTime() - started > waitMs) {
        const { name } = this.identity;
        throw new FemtoError(
          'RETRY_LATER',
          `${name} has no certificate yet; approve it with femtopki machine approve ${name}, and see that rotation-worker and signer run.`,
        );
      }
    }
  }

  onRenewed(listener: () => void): void {
    this.listeners.push(listener);
  }

  close(): void {
    this.closed = true;
  }

  watch(): void {
    if (this.closed) return;
    void this.look()
      .catch((err: unknown) => {
        this.tell(`trouble ${String(err)}`, { err }, 'a certificate could not be looked after');
        return APPROVAL_POLL_MS;
      })
      .then((pauseMs) => setTimeout(() => this.watch(), pauseMs).unref());
  }

  /** @returns milliseconds until the next look */
  private async look(): Promise<number> {
    const { machines, clock } = this.deps;
    const { name, watchMs = WATCH_MS } = this.identity;
    const machine = await machines.byName(name);
    if (machine === null) {
      await requestIdentity(machines, this.identity, this.key);
      return POLL_MS;
    }
    if (machine.state === 'requested') {
      this.tell('requested', {}, `waiting for approval: femtopki machine approve ${name}`);
      return APPROVAL_POLL_MS;
    }
    if (machine.state === 'disabled') {
      this.held = null;
      this.tell('disabled', {}, `${name} was disabled and has no certificate any more`);
      return watchMs;
    }
    if (await this.adopt(machine)) return watchMs;
    const left = (this.held?.notAfter.getTime() ?? 0) - clock.now().getTime();
    // Where a replica with a key file of its own took the row meanwhile, ours is asked for when we need it, not in a race.
    if (left <= RENEW_LEFT_MS) await this.askRenewal(machine);
    return left > 0 ? watchMs : POLL_MS;
  }

  private async askRenewal(machine: Machine): Promise<void> {
    const { name } = this.identity;
    const isOurs = machine.spkiHash.equals(this.spkiHash);
    if (isOurs && (machine.renewRequestedAt !== null || machine.serial === null)) return;
    const csrDer = isOurs ? undefined : requestOf(this.key);
    await this.deps.machines.askRenewal({ name, actor: `system:${name}`, ...(csrDer && { csrDer }) });
  }

  /** Takes the row's newest certificate, when it is for our key and not the one we hold. */
  private async adopt(machine: Machine): Promise<boolean> {
    const { issuerId, serial, notAfter } = machine;
    if (issuerId === null || serial === null || notAfter === null || notAfter <= this.deps.clock.now()) return false;
    if (this.held?.serial.equals(serial)) return false;
    const [der, issuer] = await Promise.all([
      this.deps.certificateOf({ issuerId, serial, notAfter }),
      this.deps.issuers.byId(issuerId),
    ]);
    if (der === null || issuer === null || !readCertificate(der).spki.spkiHash.equals(this.spkiHash)) return false;
    const root = await this.deps.issuers.bySpkiOrSignature({ der: issuer.certificateDer });
    const isFirst = this.held === null;
    this.held = {
      certificateDer: der,
      chain: root === null ? [issuer.certificateDer] : [issuer.certificateDer, root.certificateDer],
      serial,
      notAfter,
    };
    writeDurably(chainFileOf(this.identity), certificatePem(der) + certificatePem(issuer.certificateDer));
    if (!isFirst) for (const listener of this.listeners) listener();
    this.tell(`held ${serial.toString('hex')}`, { notAfter }, isFirst ? 'certificate held' : 'certificate renewed');
    return true;
  }

  private tell(what: string, facts: object, sentence: string): void {
    if (this.told === what) return;
    this.told = what;
    const level = what.startsWith('held') ? 'info' : 'warn';
    this.deps.log[level]({ machine: this.identity.name, ...facts }, sentence);
  }
}

/** Makes key file and machine row where they are missing; first run does this ahead and approves the row. */
export async function requestIdentity(
  machines: Pick<MachineOffice, 'byName' | 'request'>,
  identity: MachineIdentityName,
  key: KeyObject = keyOf(keyFileOf(identity)),
): Promise<void> {
  const { kind, name, dnsName } = identity;
  if ((await machines.byName(name)) !== null) return;
  const request = { kind, name, csrDer: requestOf(key), actor: `system:${name}` };
  await machines.request({ ...request, ...(dnsName !== undefined && { dnsName }) });
}

/** The key in the file, made when there is none. */
function keyOf(keyFile: string): KeyObject {
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeDurably(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
  }
  return createPrivateKey(readFileSync(keyFile));
}

function keyFileOf({ tlsDir, name }: MachineIdentityName): string {
  return join(tlsDir, `${name}.key`);
}

function chainFileOf({ tlsDir, name }: MachineIdentityName): string {
  return join(tlsDir, `${name}.pem`);
}
