import { certificatePem } from '../x509/certificate.js';
import { type MachineIdentityDeps, type MachineIdentityName, openMachineIdentity } from './machine-identity.js';

/** The TLS identity of one of our listeners. */
export interface ServerIdentity {
  /** What `tls.createSecureContext` takes: chain (leaf first, without the root) and key, both PEM. */
  current(): { cert: string; key: string };
  /** Called when a newer certificate is held; hand it to `server.setSecureContext`. */
  onRenewed(listener: () => void): void;
  close(): void;
}

/** Waits for the first certificate: without one nothing can listen. @throws FemtoError RETRY_LATER after `waitMs` */
export async function openServerIdentity(
  deps: MachineIdentityDeps,
  server: Omit<MachineIdentityName, 'kind'> & { dnsName: string; waitMs: number },
): Promise<ServerIdentity> {
  const { waitMs, ...name } = server;
  const identity = openMachineIdentity(deps, { ...name, kind: 'server' });
  let held = await identity.first(waitMs);
  const key = identity.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    current: () => {
      // Clients say themselves what they think of a certificate that ran out; a listener without one says nothing.
      held = identity.current() ?? held;
      return { cert: certificatePem(held.certificateDer) + certificatePem(held.chain[0] ?? Buffer.alloc(0)), key };
    },
    onRenewed: (listener) => identity.onRenewed(listener),
    close: () => identity.close(),
  };
}
