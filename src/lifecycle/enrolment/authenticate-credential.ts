import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { rememberedCertificate } from '../../x509/remembered-certificate.js';
import type { Issuer, OwnCredential, Unit } from '../model/index.js';
import type { IssuerDirectory } from '../registry/index.js';
import type { CredentialReader, PresentedCertificate, ProvedCredential } from './credential.js';

export interface AuthenticationDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly issuers: IssuerDirectory;
  readonly certificates: CredentialReader;
  /** Certificates of makers' own CAs. */
  readonly vendors: VendorJudge;
  /** A certificate that chains to us and is in no record (AUD-2): entered as revoked, alarmed. */
  readonly onUnrecorded: (certificate: Certificate, issuer: Issuer, address: string) => Promise<void>;
}

/**
 * Whose a vendor's certificate is: the unit whose manifest row names its key, where the chain leads to an anchor registered
 * for that unit's model (rules 3.5). Null: no manifest names the key.
 *
 * @throws FemtoError UNKNOWN_ISSUER, CERT_EXPIRED, CERT_NOT_YET_VALID, CERT_REVOKED, KEY_WEAK, RETRY_LATER
 */
export interface VendorJudge {
  unitOf(certificate: Certificate, chain: readonly Buffer[], at: Date): Promise<Unit | null>;
}

/**
 * Whose key was proved. The role comes from the exact key that signed the certificate and from our record of it, never
 * from a name or an EKU in it (rules 1.2).
 *
 * @throws FemtoError BAD_REQUEST | KEY_WEAK unreadable; UNKNOWN_ISSUER; CERT_NOT_YET_VALID; NOT_RECORDED; UNREGISTERED; for a
 *   vendor's certificate what {@link VendorJudge} throws
 */
export async function authenticateCredential(
  deps: AuthenticationDeps,
  presented: PresentedCertificate,
): Promise<ProvedCredential> {
  const certificate = rememberedCertificate(presented.der);
  const issuer = await deps.issuers.bySpkiOrSignature(certificate);
  if (issuer === null) return authenticateVendor(deps, presented, certificate);
  const kind = KIND_BY_ISSUER[issuer.kind];
  if (kind === undefined) throw unknownIssuer();
  if (certificate.notBefore.getTime() > deps.clock.now().getTime()) {
    throw new FemtoError(
      'CERT_NOT_YET_VALID',
      'The certificate is not valid yet; check the clock of the issuing side.',
    );
  }
  const tx = deps.transactor.read;
  const key = { issuerId: issuer.id, serial: certificate.serial, notAfter: certificate.notAfter };
  const recorded = await deps.certificates.credential(tx, key);
  if (recorded === null) await deps.onUnrecorded(certificate, issuer, presented.address);
  // An ECDSA signature can be rewritten without the key: only the very bytes we recorded are ours.
  if (!recorded?.record.der.equals(certificate.der)) {
    throw new FemtoError('NOT_RECORDED', 'The certificate chains to us but is not in the record; treat it as forged.', {
      facts: { issuer: issuer.label, serial: certificate.serial.toString('hex') },
    });
  }
  const { record, unit, status } = recorded;
  if (unit === null) throw new FemtoError('UNREGISTERED', 'The certificate belongs to no unit; look at its record.');
  return {
    kind,
    certificate,
    issuer,
    record,
    unit,
    status,
    provedAt: presented.provedAt,
    address: presented.address,
  };
}

/** Ours or not was settled by the key that signed: a vendor's certificate can never be taken for one of ours. */
async function authenticateVendor(
  deps: AuthenticationDeps,
  { chain, provedAt, address }: PresentedCertificate,
  certificate: Certificate,
): Promise<ProvedCredential> {
  const unit = await deps.vendors.unitOf(certificate, chain, deps.clock.now());
  if (unit === null) throw unknownIssuer();
  return { kind: 'vendor', certificate, issuer: null, record: null, unit, status: 'good', provedAt, address };
}

function unknownIssuer(): FemtoError {
  return new FemtoError('UNKNOWN_ISSUER', 'The certificate comes from no CA of units; present the unit’s own one.');
}

const KIND_BY_ISSUER: Readonly<Partial<Record<Issuer['kind'], OwnCredential['kind']>>> = {
  'device-ca': 'operational',
  'bootstrap-ca': 'bootstrap',
};
