import type { TLSSocket } from 'node:tls';
import type { AskingGateway } from '../../lifecycle/admission/index.js';
import type { IssuerDirectory, MachineOffice } from '../../lifecycle/registry/index.js';
import type { CredentialStatusReader } from '../../lifecycle/status/index.js';
import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate } from '../../x509/certificate.js';

export interface CallerDeps {
  readonly issuers: IssuerDirectory;
  readonly machines: MachineOffice;
  readonly certificates: CredentialStatusReader;
  readonly clock: Clock;
  readonly db: Transactor;
}

/**
 * A gateway is a row of kind gateway behind a certificate that our Services CA's exact key signed (rules 1.2).
 *
 * @throws FemtoError DENIED, UNKNOWN_ISSUER, CERT_EXPIRED, CERT_REVOKED; BAD_REQUEST, KEY_WEAK for no certificate of ours
 */
export interface CallingGateways {
  /** By the rows as they are now. */
  now(socket: TLSSocket): Promise<AskingGateway>;
  /** By rows read at most a second ago: for the call that a gateway makes for each unit. */
  lately(socket: TLSSocket): Promise<AskingGateway>;
}

const STANDING_MS = 1_000;
/** Certificates, not calls; beyond it everybody is looked up anew. */
const STANDINGS_MAX = 10_000;

export function makeCallingGateways(deps: CallerDeps): CallingGateways {
  // A connection shows one certificate for its whole life: there is no renegotiation in what we speak.
  const shown = new WeakMap<TLSSocket, Promise<Shown>>();
  const standings = new Map<string, { readonly until: number; readonly gateway: Promise<AskingGateway> }>();

  const certificateOf = (socket: TLSSocket): Promise<Shown> => {
    let known = shown.get(socket);
    if (known === undefined) {
      known = read(deps, socket);
      shown.set(socket, known);
    }
    return known;
  };
  return {
    now: async (socket) => standing(deps, await certificateOf(socket)),
    lately: async (socket) => {
      const caller = await certificateOf(socket);
      const key = caller.certificate.fingerprint;
      const at = deps.clock.now().getTime();
      const held = standings.get(key);
      if (held !== undefined && at < held.until && at >= held.until - STANDING_MS) return held.gateway;
      if (standings.size >= STANDINGS_MAX) standings.clear();
      const gateway = standing(deps, caller);
      standings.set(key, { until: at + STANDING_MS, gateway });
      // A refusal is not remembered: the next call looks again.
      gateway.catch(() => standings.delete(key));
      return gateway;
    },
  };
}

interface Shown {
  readonly certificate: Certificate;
  readonly issuerId: number;
}

async function read({ issuers }: CallerDeps, socket: TLSSocket): Promise<Shown> {
  const der = socket.getPeerCertificate(false)?.raw;
  if (!der) throw new FemtoError('DENIED', 'Call with a gateway certificate (mTLS); see femtopki gateway add.');
  const certificate = readCertificate(der);
  const issuer = await issuers.bySpkiOrSignature(certificate);
  if (issuer?.kind !== 'services-ca')
    throw new FemtoError('UNKNOWN_ISSUER', 'The caller’s certificate is not from our Services CA.');
  return { certificate, issuerId: issuer.id };
}

async function standing(
  { machines, certificates, clock, db }: CallerDeps,
  { certificate, issuerId }: Shown,
): Promise<AskingGateway> {
  const now = clock.now();
  if (now > certificate.notAfter || now < certificate.notBefore) {
    throw new FemtoError('CERT_EXPIRED', 'The gateway’s certificate is outside its life; renew it.');
  }
  const machine = await machines.bySpkiHash(certificate.spki.spkiHash);
  if (machine?.kind !== 'gateway') throw new FemtoError('DENIED', 'The caller is no approved gateway.');
  const status = await certificates.status(db.read, { issuerId, serial: certificate.serial });
  if (status !== 'good') throw new FemtoError('CERT_REVOKED', 'The gateway’s certificate is revoked.');
  return { machineId: machine.id, name: machine.name };
}
