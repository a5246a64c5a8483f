import { CRL_REASONS, type CrlReason } from './crl-reason.js';
import {
  bitString,
  enumerated,
  explicitTag,
  generalizedTime,
  implicitTag,
  integer,
  lengthBytes,
  sequence,
  TAG,
  writeLength,
  x509Time,
} from './der.js';
import { extension } from './extension.js';
import { crlDistributionPoints, distributionPointName } from './general-name.js';
import { OID } from './oids.js';
import { algorithmIdentifier, type IssuerSignature } from './signature-algorithm.js';

export { CrlEntryCursor, compareEntries, crlEntries, inSerialOrder } from './crl-entries.js';
export { CRL_REASONS, type CrlReason, crlReasonOf } from './crl-reason.js';
export type { JudgedList } from './judged-list.js';
export { NO_LIST } from './judged-list.js';
export { type CrlExpectation, judgeList, lintCrl, lintNextCrl } from './lint-crl.js';
export { type Crl, type CrlHead, readCrl, readCrlHead, verifyCrlSignature } from './read-crl.js';
export type { CrlEntry } from './read-crl-entry.js';

/**
 * One entry of revokedCertificates, DER. Made once in the revoking transaction and stored; a CRL then only joins them.
 * `unspecified` is written by leaving the reason out (RFC 5280 section 5.3.1).
 *
 * @param entry  `serial`: unsigned magnitude; `reason`: name or code; `invalidSince`: when the key is thought lost
 */
export function crlEntry(entry: {
  serial: Buffer;
  revokedAt: Date;
  reason?: CrlReason | number;
  invalidSince?: Date;
}): Buffer {
  const code = typeof entry.reason === 'string' ? CRL_REASONS[entry.reason] : (entry.reason ?? 0);
  const extensions: Buffer[] = [];
  if (code !== CRL_REASONS.unspecified) extensions.push(extension(OID.reasonCode, false, enumerated(code)));
  if (entry.invalidSince !== undefined) {
    extensions.push(extension(OID.invalidityDate, false, generalizedTime(entry.invalidSince)));
  }
  const fields = [integer(entry.serial), x509Time(entry.revokedAt)];
  if (extensions.length > 0) fields.push(sequence(...extensions));
  return sequence(...fields);
}

export interface CrlFields {
  /** The issuer's subject Name, copied from its certificate. */
  readonly issuerSubjectDer: Buffer;
  /** The issuer's actual subjectKeyIdentifier. */
  readonly issuerKeyIdentifier: Buffer;
  readonly alg: IssuerSignature;
  /** Strictly rising per issuer, at most 20 octets; full and delta CRLs share the sequence. */
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** From {@link crlEntry}: one or many of them in each buffer. */
  readonly entries: Iterable<Buffer>;
  /** CRL number of the complete CRL this delta builds on; left out: no delta. */
  readonly deltaBase?: bigint;
  /** Where the delta CRLs are; in a complete CRL only (RFC 5280 section 5.2.6). */
  readonly freshestCrlUrl?: string;
  /** Only for gateways known to honour it: strongSwan 5.9.8 ignores an IDP. Same URI as in the certificates' CDP. */
  readonly distributionPointUrl?: string;
}

/**
 * TBSCertList DER, ready for the signer. An empty list is left out, never written as an empty SEQUENCE.
 *
 * @see RFC 5280 section 5.1
 */
export function buildCrlTbs(fields: CrlFields): Buffer {
  return draftCrl(fields).tbsDer;
}

/** A TBSCertList in a place that has room for the rest: tens of megabytes are written once, not three times. */
export interface CrlDraft {
  readonly tbsDer: Buffer;
  /**
   * The CRL, in the same memory. The signature is not checked here.
   *
   * @param signatureDer  Ecdsa-Sig-Value
   */
  assemble(signatureDer: Buffer): Buffer;
}

export function draftCrl(fields: CrlFields): CrlDraft {
  const entries = [...fields.entries];
  const entriesBytes = entries.reduce((sum, entry) => sum + entry.length, 0);
  const front = [
    CRL_VERSION_2,
    algorithmIdentifier(fields.alg),
    fields.issuerSubjectDer,
    x509Time(fields.thisUpdate),
    x509Time(fields.nextUpdate),
    ...(entriesBytes === 0 ? [] : [header(entriesBytes)]),
  ];
  const back = explicitTag(0, sequence(...crlExtensions(fields)));
  const tbsContent = front.reduce((sum, part) => sum + part.length, entriesBytes + back.length);
  const outer = header(tbsContent);
  const tbsBytes = outer.length + tbsContent;
  const place = Buffer.allocUnsafe(HEADER_BYTES_MAX + tbsBytes + TAIL_BYTES_MAX);
  let end = HEADER_BYTES_MAX;
  for (const part of [outer, ...front, ...entries, back]) end += part.copy(place, end);
  const tbsDer = place.subarray(HEADER_BYTES_MAX, end);
  return {
    tbsDer,
    assemble: (signatureDer) => {
      const tail = Buffer.concat([algorithmIdentifier(fields.alg), bitString(signatureDer)]);
      const head = header(tbsBytes + tail.length);
      const start = HEADER_BYTES_MAX - head.length;
      if (tail.length > TAIL_BYTES_MAX) return assembleCrl(tbsDer, fields.alg, signatureDer);
      head.copy(place, start);
      tail.copy(place, end);
      return place.subarray(start, end + tail.length);
    },
  };
}

/** Joins a TBSCertList and its signature (Ecdsa-Sig-Value, DER); the signature is not checked here. */
export function assembleCrl(tbsDer: Buffer, alg: IssuerSignature, signatureDer: Buffer): Buffer {
  return sequence(tbsDer, algorithmIdentifier(alg), bitString(signatureDer));
}

/** Tag and length of a SEQUENCE of so many octets. */
function header(contentBytes: number): Buffer {
  const out = Buffer.alloc(1 + lengthBytes(contentBytes));
  out[0] = TAG.SEQUENCE;
  writeLength(out, 1, contentBytes);
  return out;
}

const HEADER_BYTES_MAX = 6;
/** AlgorithmIdentifier and a signature by P-384. */
const TAIL_BYTES_MAX = 160;
const CRL_VERSION_2 = integer(1);

function crlExtensions(fields: CrlFields): Buffer[] {
  const { issuerKeyIdentifier, number, deltaBase, distributionPointUrl, freshestCrlUrl } = fields;
  const extensions = [
    extension(OID.authorityKeyIdentifier, false, sequence(implicitTag(0, issuerKeyIdentifier))),
    extension(OID.crlNumber, false, integer(number)),
  ];
  if (deltaBase !== undefined) extensions.push(extension(OID.deltaCrlIndicator, true, integer(deltaBase)));
  if (distributionPointUrl !== undefined) {
    const point = sequence(distributionPointName(distributionPointUrl));
    extensions.push(extension(OID.issuingDistributionPoint, true, point));
  }
  if (freshestCrlUrl !== undefined) {
    extensions.push(extension(OID.freshestCrl, false, crlDistributionPoints(freshestCrlUrl)));
  }
  return extensions;
}
