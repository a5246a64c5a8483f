import { generateKeyPairSync, sign } from 'node:crypto';
import type { MachineKind, MachineOffice } from '../lifecycle/registry/index.js';
import type { Clock } from '../platform/clock.js';
import { FemtoError } from '../platform/errors.js';
import type { Logger } from '../platform/log.js';
import { certificatePem } from '../x509/certificate.js';
import { requestOf } from './machine-request.js';

/**
 * A software key of this process (decisions, time), certified for a day at a time. It lives in memory only, so a restart
 * makes a new one; the machine row that a person approved once stands, so nobody is asked again (rules 1.5).
 */
export interface ProcessKey {
  /** @throws FemtoError RETRY_LATER while no certificate is there: what nobody can check must not be said */
  sign(text: Buffer, encoding?: 'der' | 'ieee-p1363'): { signature: Buffer; certificatePem: string };
  isReady(): boolean;
  close(): void;
}

export interface ProcessKeyDeps {
  readonly machines: MachineOffice;
  readonly clock: Clock;
  readonly log: Logger;
  /** The newest certificate of a machine row, DER; null before the first. */
  readonly certificateOf: (key: { issuerId: number; serial: Buffer; notAfter: Date }) => Promise<Buffer | null>;
}

const POLL_MS = 500;
/** With this much left the next certificate is asked for; the worker has hours to bring it. */
const RENEW_LEFT_MS = 6 * 3_600_000;

export function openProcessKey(deps: ProcessKeyDeps, identity: { kind: MachineKind; name: string }): ProcessKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let held: { pem: string; notAfter: Date } | null = null;
  let asked = false;
  let closed = false;

  const step = async (): Promise<void> => {
    const now = deps.clock.now();
    const left = held === null ? 0 : held.notAfter.getTime() - now.getTime();
    if (left > RENEW_LEFT_MS) return;
    if (!asked) {
      asked = await ask(deps, identity, requestOf(privateKey));
      return;
    }
    const machine = await deps.machines.byName(identity.name);
    if (!machine?.issuerId || !machine.serial || !machine.notAfter || machine.renewRequestedAt) return;
    const der = await deps.certificateOf({
      issuerId: machine.issuerId,
      serial: machine.serial,
      notAfter: machine.notAfter,
    });
    if (der === null) return;
    held = { pem: certificatePem(der), notAfter: machine.notAfter };
    asked = false;
    deps.log.info({ machine: identity.name, notAfter: held.notAfter }, 'process key certified');
  };
  const loop = (): void => {
    if (closed) return;
    step()
      .catch((err: unknown) => deps.log.warn({ err }, 'process key is not certified yet'))
      .finally(() => setTimeout(loop, POLL_MS).unref());
  };
  loop();

  return {
    sign: (text, dsaEncoding = 'der') => {
      if (held === null || deps.clock.now() > held.notAfter) {
        throw new FemtoError('RETRY_LATER', 'This process has no certificate for its key yet; ask again in a moment.', {
          retryAfterSeconds: 1,
        });
      }
      return { signature: sign('sha256', text, { key: privateKey, dsaEncoding }), certificatePem: held.pem };
    },
    isReady: () => held !== null && deps.clock.now() <= held.notAfter,
    close: () => {
      closed = true;
    },
  };
}

/** True when the worker may now certify the key; false while a person has not approved the row. */
async function ask(
  deps: ProcessKeyDeps,
  { kind, name }: { kind: MachineKind; name: string },
  csrDer: Buffer,
): Promise<boolean> {
  const actor = `system:${name}`;
  const machine = await deps.machines.byName(name);
  if (machine === null) {
    await deps.machines.request({ kind, name, csrDer, actor });
    return false;
  }
  if (machine.state !== 'approved') return false;
  await deps.machines.askRenewal({ name, csrDer, actor });
  return true;
}
