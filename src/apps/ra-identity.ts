import { sign } from 'node:crypto';
import type { CmpRa, RaCredential } from '../protocol/cmp/cmp-deps.js';
import { readCertificate } from '../x509/certificate.js';
import { type HeldCertificate, type MachineIdentityDeps, openMachineIdentity } from './machine-identity.js';

/** Name of the machine row, and common name of its certificate. */
export const RA_NAME = 'enrol-server-cmp';

/**
 * The key that protects enrol-server's CMP answers: Services certificate with id-kp-cmcRA, 30 days (rules 1.5). Clients
 * believe it by the Services Root. Returns at once: REST and EST are served while this identity waits.
 */
export function openRaIdentity(
  deps: MachineIdentityDeps,
  { tlsDir, watchMs }: { tlsDir: string; watchMs?: number },
): CmpRa & { close(): void } {
  const identity = openMachineIdentity(deps, {
    kind: 'cmp-ra',
    name: RA_NAME,
    tlsDir,
    ...(watchMs !== undefined && { watchMs }),
  });
  let known: { held: HeldCertificate; credential: RaCredential } | null = null;
  return {
    current: () => {
      const held = identity.current();
      if (held === null) return null;
      if (known?.held !== held) {
        const { ski, subjectDer } = readCertificate(held.certificateDer);
        const { certificateDer, chain } = held;
        const credential = {
          certificateDer,
          chain,
          keyIdentifier: ski ?? Buffer.alloc(0),
          subjectDer,
          sign: (data: Buffer) => sign('sha256', data, identity.key),
        };
        known = { held, credential };
      }
      return known.credential;
    },
    close: () => identity.close(),
  };
}
