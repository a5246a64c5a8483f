import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { BODY_TAG } from '../../src/x509/cmp/body-tag.js';
import { INFO_TYPE, readMacAlgorithm } from '../../src/x509/cmp/index.js';
import {
  bitString,
  enumerated,
  explicitTag,
  generalizedTime,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  tlv,
  utf8String,
} from '../../src/x509/der.js';
import { extension } from '../../src/x509/extension.js';
import { OID } from '../../src/x509/oids.js';
import { algorithmIdentifier, type SignatureAlgorithm } from '../../src/x509/signature-algorithm.js';
import { readSpki } from '../../src/x509/spki.js';
import { macOf } from './cmp-mac.js';

/**
 * CMP requests as a client would send them, and as none would: every part can be replaced by other bytes or left out.
 * Protection is computed last, over whatever the parts became.
 */

/** A header field: a value, or null to leave it out where it would be there. */
type Field<T> = T | null;

export interface RequestHeader {
  readonly pvno?: number;
  /** Whole GeneralName; the empty name unless said otherwise. */
  readonly sender?: Buffer;
  readonly recipient?: Buffer;
  readonly messageTime?: Field<Date>;
  /** Whole AlgorithmIdentifier in place of the protection's own. */
  readonly protectionAlg?: Field<Buffer>;
  readonly senderKid?: Field<Buffer>;
  readonly transactionId?: Field<Buffer>;
  readonly senderNonce?: Field<Buffer>;
  readonly recipNonce?: Field<Buffer>;
  readonly freeText?: readonly string[];
  /** Whole InfoTypeAndValue, DER each. */
  readonly generalInfo?: readonly Buffer[];
}

export type RequestProtection =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'signature';
      readonly key: KeyObject;
      readonly algorithm?: SignatureAlgorithm;
      /** senderKID; the key's own identifier unless said otherwise. */
      readonly keyIdentifier?: Buffer;
    }
  /** `algorithmDer` from {@link pbm} or {@link pbmac1}. */
  | { readonly kind: 'mac'; readonly secret: Buffer; readonly reference: string; readonly algorithmDer: Buffer };

export interface RequestParts {
  /** Whole PKIBody: one of {@link requestBody}. */
  readonly body: Buffer;
  readonly protect: RequestProtection;
  readonly header?: RequestHeader;
  readonly extraCerts?: readonly Buffer[];
  /** Last word on the protection bits, e.g. to bend them. */
  readonly bendProtection?: (protection: Buffer) => Buffer;
}

export const NULL_DN = explicitTag(4, sequence());
export const IMPLICIT_CONFIRM = sequence(oid(INFO_TYPE.implicitConfirm), nullValue());
export const certProfile = (name: string): Buffer => sequence(oid(INFO_TYPE.certProfile), sequence(utf8String(name)));

/** One whole PKIMessage. */
export function cmpRequest({ body, protect, header = {}, extraCerts = [], bendProtection }: RequestParts): Buffer {
  const headerDer = requestHeader(header, protect);
  const protectedDer = sequence(headerDer, body);
  const bits = protectionBits(protect, protectedDer);
  return sequence(
    headerDer,
    body,
    bits === undefined
      ? NOTHING
      : explicitTag(0, bitString(bendProtection === undefined ? bits : bendProtection(bits))),
    extraCerts.length === 0 ? NOTHING : explicitTag(1, sequence(...extraCerts)),
  );
}

const NOTHING = Buffer.alloc(0);

function requestHeader(header: RequestHeader, protect: RequestProtection): Buffer {
  const { sender = NULL_DN, recipient = NULL_DN, pvno = 2, freeText = [], generalInfo = [] } = header;
  return sequence(
    integer(pvno),
    sender,
    recipient,
    field(0, header.messageTime, undefined, generalizedTime),
    field(1, header.protectionAlg, protectionAlgorithm(protect), (der) => der),
    field(2, header.senderKid, keyIdentifier(protect), octetString),
    field(4, header.transactionId, randomBytes(16), octetString),
    field(5, header.senderNonce, randomBytes(16), octetString),
    field(6, header.recipNonce, undefined, octetString),
    freeText.length === 0 ? NOTHING : explicitTag(7, sequence(...freeText.map(utf8String))),
    generalInfo.length === 0 ? NOTHING : explicitTag(8, sequence(...generalInfo)),
  );
}

function field<T>(
  tagNumber: number,
  given: Field<T> | undefined,
  usual: T | undefined,
  encode: (value: T) => Buffer,
): Buffer {
  const value = given === undefined ? usual : given;
  return value === undefined || value === null ? NOTHING : explicitTag(tagNumber, encode(value));
}

function protectionAlgorithm(protect: RequestProtection): Buffer | undefined {
  if (protect.kind === 'none') return undefined;
  if (protect.kind === 'mac') return protect.algorithmDer;
  return algorithmIdentifier(protect.algorithm ?? 'ecdsa-with-SHA256');
}

function keyIdentifier(protect: RequestProtection): Buffer | undefined {
  if (protect.kind === 'none') return undefined;
  if (protect.kind === 'mac') return Buffer.from(protect.reference, 'utf8');
  return protect.keyIdentifier ?? readSpki(spkiOf(protect.key), { allowRsa: true }).keyIdentifier;
}

function protectionBits(protect: RequestProtection, protectedDer: Buffer): Buffer | undefined {
  if (protect.kind === 'none') return undefined;
  if (protect.kind === 'signature')
    return signWith(protect.key, protect.algorithm ?? 'ecdsa-with-SHA256', protectedDer);
  return macOf(readMacAlgorithm(protect.algorithmDer), protect.secret, protectedDer);
}

function signWith(key: KeyObject, algorithm: SignatureAlgorithm, data: Buffer): Buffer {
  const digest = /sha(256|384|512)/i.exec(algorithm)?.[0].toLowerCase() ?? 'sha256';
  return sign(digest, data, key);
}

/** SubjectPublicKeyInfo of either half of a key pair. */
export function spkiOf(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ format: 'der', type: 'spki' });
}

/** PasswordBasedMac. Hashes are dotted OIDs, so that refused ones can be named too. */
export function pbm(options: { salt?: Buffer; rounds?: number; owf?: string; hmac?: string } = {}): Buffer {
  const { salt = randomBytes(16), rounds = 500, owf = OID.sha256, hmac = OID.pbmHmacSha1 } = options;
  const parameters = sequence(octetString(salt), sequence(oid(owf)), integer(rounds), sequence(oid(hmac), nullValue()));
  return sequence(oid(OID.passwordBasedMac), parameters);
}

/** PBMAC1 with PBKDF2. A null `prf` or `keyOctets` is left out. */
export function pbmac1(
  options: { salt?: Buffer; rounds?: number; prf?: string | null; keyOctets?: number | null; hmac?: string } = {},
): Buffer {
  const { salt = randomBytes(16), rounds = 1_000, keyOctets = 32 } = options;
  const { prf = OID.hmacWithSha256, hmac = OID.hmacWithSha256 } = options;
  const derivation = sequence(
    octetString(salt),
    integer(rounds),
    keyOctets === null ? NOTHING : integer(keyOctets),
    prf === null ? NOTHING : sequence(oid(prf), nullValue()),
  );
  return sequence(oid(OID.pbmac1), sequence(sequence(oid(OID.pbkdf2), derivation), sequence(oid(hmac), nullValue())));
}

/** Every body a client may send, each a whole PKIBody. */
export const requestBody = {
  ir: (...messages: readonly Buffer[]): Buffer => bodyOf('ir', sequence(...messages)),
  cr: (...messages: readonly Buffer[]): Buffer => bodyOf('cr', sequence(...messages)),
  kur: (...messages: readonly Buffer[]): Buffer => bodyOf('kur', sequence(...messages)),
  p10cr: (csrDer: Buffer): Buffer => bodyOf('p10cr', csrDer),
  rr: (...details: readonly RevokeParts[]): Buffer => bodyOf('rr', sequence(...details.map(revDetails))),
  genm: (...items: readonly { oid: string; valueDer?: Buffer }[]): Buffer =>
    bodyOf('genm', sequence(...items.map((item) => sequence(oid(item.oid), item.valueDer ?? NOTHING)))),
  certConf: (...statuses: readonly ConfirmParts[]): Buffer => bodyOf('certConf', sequence(...statuses.map(certStatus))),
  pollReq: (...certReqIds: readonly number[]): Buffer =>
    bodyOf('pollReq', sequence(...certReqIds.map((id) => sequence(integer(id))))),
  /** A body by its number, whatever is inside. */
  other: (tagNumber: number, content: Buffer): Buffer => explicitTag(tagNumber, content),
};

function bodyOf(kind: keyof typeof BODY_TAG, content: Buffer): Buffer {
  return explicitTag(BODY_TAG[kind], content);
}

export interface RevokeParts {
  readonly issuerDer?: Buffer;
  readonly serial?: Buffer;
  readonly reasonCode?: number;
}

function revDetails({ issuerDer, serial, reasonCode }: RevokeParts): Buffer {
  const template = sequence(
    serial === undefined ? NOTHING : tlv(0x81, integer(serial).subarray(2)),
    issuerDer === undefined ? NOTHING : explicitTag(3, issuerDer),
  );
  if (reasonCode === undefined) return sequence(template);
  return sequence(template, sequence(extension(OID.reasonCode, false, enumerated(reasonCode))));
}

export interface ConfirmParts {
  /** Hashed with SHA-256 unless `certHash` says otherwise. */
  readonly certificateDer?: Buffer;
  readonly certHash?: Buffer;
  readonly certReqId?: number;
  /** PKIStatus number; left out when undefined. */
  readonly status?: number;
  /** Dotted OID of hashAlg. */
  readonly hashAlg?: string;
}

function certStatus({ certificateDer = NOTHING, certHash, certReqId = 0, status, hashAlg }: ConfirmParts): Buffer {
  return sequence(
    octetString(certHash ?? createHash('sha256').update(certificateDer).digest()),
    integer(certReqId),
    status === undefined ? NOTHING : sequence(integer(status)),
    hashAlg === undefined ? NOTHING : explicitTag(0, sequence(oid(hashAlg))),
  );
}

export interface CertReqParts {
  /** Private half of the key to be certified. */
  readonly key: KeyObject;
  readonly certReqId?: number;
  /** Whole Name; absent unless given. */
  readonly subjectDer?: Buffer;
  /** Whole Extensions, DER each. */
  readonly extensions?: readonly Buffer[];
  /** Whole AttributeTypeAndValue, DER each: {@link regToken}, {@link oldCertId}. */
  readonly controls?: readonly Buffer[];
  readonly regInfo?: readonly Buffer[];
  /** Whole SubjectPublicKeyInfo in place of the key's own; null leaves it out. */
  readonly spkiDer?: Buffer | null;
  /** More template fields, whole TLVs, that stand before the subject. */
  readonly templateStart?: readonly Buffer[];
  readonly popo?: 'signature' | 'poposkInput' | 'raVerified' | 'keyAgreement' | 'none';
  /** Key that signs the proof, where it is not `key`. */
  readonly proveWith?: KeyObject;
  /** Key named inside poposkInput, where it is not `key`. */
  readonly inputKey?: KeyObject;
  readonly algorithm?: SignatureAlgorithm;
  /** Whole AlgorithmIdentifier of the proof in place of the algorithm's own. */
  readonly algorithmDer?: Buffer;
}

/** One CertReqMsg. */
export function certReqMsg(parts: CertReqParts): Buffer {
  const { key, certReqId = 0, controls = [], regInfo = [] } = parts;
  const certReq = sequence(
    integer(certReqId),
    certTemplate(parts, key),
    controls.length === 0 ? NOTHING : sequence(...controls),
  );
  return sequence(certReq, possession(parts, certReq), regInfo.length === 0 ? NOTHING : sequence(...regInfo));
}

function certTemplate(
  { subjectDer, extensions = [], spkiDer, templateStart = [] }: CertReqParts,
  key: KeyObject,
): Buffer {
  const publicKey = spkiDer === undefined ? spkiOf(key) : spkiDer;
  return sequence(
    ...templateStart,
    subjectDer === undefined ? NOTHING : explicitTag(5, subjectDer),
    publicKey === null ? NOTHING : Buffer.concat([Buffer.from([0xa6]), publicKey.subarray(1)]),
    extensions.length === 0 ? NOTHING : tlv(0xa9, ...extensions),
  );
}

function possession(parts: CertReqParts, certReq: Buffer): Buffer {
  const { key, popo = 'signature', proveWith = key, inputKey = key, algorithm = 'ecdsa-with-SHA256' } = parts;
  if (popo === 'none') return NOTHING;
  if (popo === 'raVerified') return Buffer.from([0x80, 0]);
  if (popo === 'keyAgreement') return explicitTag(3, tlv(0x81, integer(0).subarray(2)));
  const algorithmDer = parts.algorithmDer ?? algorithmIdentifier(algorithm);
  if (popo === 'signature') {
    return tlv(0xa1, algorithmDer, bitString(signWith(proveWith, algorithm, certReq)));
  }
  const input = sequence(explicitTag(0, NULL_DN), spkiOf(inputKey));
  const tagged = Buffer.concat([Buffer.from([0xa0]), input.subarray(1)]);
  return tlv(0xa1, tagged, algorithmDer, bitString(signWith(proveWith, algorithm, input)));
}

export function regToken(code: string): Buffer {
  return sequence(oid(OID.regToken), utf8String(code));
}

export function oldCertId(issuerDer: Buffer, serial: Buffer): Buffer {
  return sequence(oid(OID.oldCertId), sequence(explicitTag(4, issuerDer), integer(serial)));
}
