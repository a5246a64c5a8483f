import type { KeyObject } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';
import { ocspKeyHash } from '../../x509/ocsp.js';
import { OID } from '../../x509/oids.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import { importPublicKey, readSpki } from '../../x509/spki.js';

/** A delegated responder of one CA, checked: RFC 6960 section 4.2.2.2. */
export interface OcspSigner {
  readonly issuerId: number;
  readonly keyLabel: string;
  readonly certificateDer: Buffer;
  readonly serial: Buffer;
  /** Of the certificate, imported once: each answer is verified under it. */
  readonly publicKey: KeyObject;
  /** SHA-1 of its key bits: responderID byKey. */
  readonly keyHash: Buffer;
  readonly algorithm: IssuerSignature;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface OcspSignerRow {
  readonly issuerId: number;
  readonly keyLabel: string;
  readonly certificateDer: Buffer;
}

export interface OcspSignerStore {
  /** Newest first, not yet expired at `now`. */
  ocspSigners(tx: Transaction, now: Date): Promise<OcspSignerRow[]>;
}

/**
 * Checks what a relying party would: issued by the CA's own key, id-kp-OCSPSigning, ocsp-nocheck, digitalSignature. An
 * answer signed by anything else is refused by every client, and looks to them like an attack (fault S10).
 *
 * @throws FemtoError STATE_CONFLICT that names the missing part
 */
export function checkOcspSigner(
  row: OcspSignerRow,
  issuer: { readonly label: string; readonly subjectDer: Buffer; readonly spkiDer: Buffer },
): OcspSigner {
  const certificate = readCertificate(row.certificateDer);
  const fault = faultOf(certificate, issuer);
  if (fault !== undefined) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `The OCSP signer of ${issuer.label} ${fault}; nothing is signed with it. Let the rotation worker certify it anew.`,
      { facts: { issuer: issuer.label, fault } },
    );
  }
  return {
    issuerId: row.issuerId,
    keyLabel: row.keyLabel,
    certificateDer: row.certificateDer,
    serial: certificate.serial,
    publicKey: importPublicKey(certificate.spki),
    keyHash: ocspKeyHash(certificate.spki),
    algorithm: certificate.spki.algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256',
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
  };
}

function faultOf(
  certificate: ReturnType<typeof readCertificate>,
  issuer: { readonly subjectDer: Buffer; readonly spkiDer: Buffer },
): string | undefined {
  if (!certificate.issuerDer.equals(issuer.subjectDer)) return 'names another issuer';
  if (!verifyCertificateSignature(certificate, readSpki(issuer.spkiDer))) return 'is not signed by its CA';
  if (!certificate.ekus.includes(OID.ocspSigning)) return 'lacks the key purpose OCSPSigning';
  if (!certificate.hasNoCheck) return 'lacks ocsp-nocheck';
  if (!certificate.keyUsage.includes('digitalSignature')) return 'lacks the key usage digitalSignature';
  if (certificate.isCa) return 'is a CA certificate';
  return undefined;
}

/** The checked signer to use now: the newest that is valid; undefined when there is none. */
export function currentSigner(signers: readonly OcspSigner[], now: Date): OcspSigner | undefined {
  return signers
    .filter(({ notBefore, notAfter }) => notBefore <= now && now <= notAfter)
    .sort((a, b) => b.notBefore.getTime() - a.notBefore.getTime())[0];
}

/** Days before its end from which a signer without a successor is an alarm (S10). */
export const OCSP_SIGNER_ALARM_DAYS = 7;
