/** May this certificate be signed? Rules sections 1 and 2, KEY-4, KEY-5. Pure: the clock's reading comes in. */
import { verify } from 'node:crypto';
import { oid, TAG } from '../../x509/der.js';
import { readDer, wholeOctets } from '../../x509/der-reader.js';
import { OID } from '../../x509/oids.js';
import { importPublicKey } from '../../x509/spki.js';
import type { SignRequest } from '../signer.js';
import type { KeyFacts } from './issuer-facts.js';
import { extensionKey, type LeafTbs, readLeafTbs } from './leaf-tbs.js';
import { deny, Refusal } from './refusal.js';
import type { LeafRule, SignerConfig } from './signer-config.js';

export interface LeafJudgement {
  readonly config: SignerConfig;
  readonly rule: LeafRule;
  readonly issuer: KeyFacts;
  /** CAs whose certificates count as predecessors: after a rollover the old one is another than `issuer`. */
  readonly predecessorIssuers: () => readonly KeyFacts[];
  readonly nowMs: number;
  /** SPKI (latin1 DER) of every key in the token: none may be certified as a leaf, OCSP signers under their own purpose excepted. */
  readonly tokenSpkis: ReadonlySet<string>;
  /** SPKI of the OCSP key of this issuer, read from the token; only asked for purpose `ocsp-signer`. */
  readonly ocspSpki: () => Buffer | undefined;
}

const EXTENSION = {
  subjectKeyIdentifier: extensionKey(oid(OID.subjectKeyIdentifier)),
  keyUsage: extensionKey(oid(OID.keyUsage)),
  subjectAltName: extensionKey(oid(OID.subjectAltName)),
  basicConstraints: extensionKey(oid(OID.basicConstraints)),
  crlDistributionPoints: extensionKey(oid(OID.crlDistributionPoints)),
  authorityKeyIdentifier: extensionKey(oid(OID.authorityKeyIdentifier)),
  extendedKeyUsage: extensionKey(oid(OID.extendedKeyUsage)),
  authorityInfoAccess: extensionKey(oid(OID.authorityInfoAccess)),
  certificatePolicies: extensionKey(oid(OID.certificatePolicies)),
  ocspNoCheck: extensionKey(oid(OID.ocspNoCheck)),
} as const;
/** Anything else in a leaf of ours is an attack or a mistake. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set(Object.values(EXTENSION));

const EMPTY_SEQUENCE = Buffer.from([TAG.SEQUENCE, 0]);
const SERIAL_BYTES = 16;
const SERIAL_LEAD = 0x01;
const HOUR_MS = 3_600_000;
/** keyCertSign (5) and cRLSign (6) in the first octet of KeyUsage bits. */
const CA_USAGE_BITS = 0x06;
const DNS_NAME_TAG = 0x82;
const POINT_HEADS = [
  '3059301306072a8648ce3d020106082a8648ce3d03010703420004',
  '3076301006072a8648ce3d020106052b8104002203620004',
].map((hex) => Buffer.from(hex, 'hex'));
const SPKI_LENGTHS = [91, 120];

/** @throws Refusal; FemtoError BAD_REQUEST from the DER reader */
export function judgeLeaf(request: SignRequest, by: LeafJudgement): void {
  const tbs = readLeafTbs(request.tbs);
  checkSerial(tbs, request.name, by);
  if (!tbs.issuerDer.equals(by.issuer.subjectDer))
    deny('The issuer name is not that of the CA whose key is asked for.');
  if (!tbs.signatureAlgorithmDer.equals(by.issuer.algorithmDer))
    deny('The signature algorithm is not that of the CA key.');
  checkLife(tbs, by);
  if (tbs.subjectDer.equals(EMPTY_SEQUENCE)) deny('The subject is empty.');
  checkPublicKey(tbs, request, by);
  checkExtensions(tbs, request, by);
  if (request.purpose === 'preissue') checkPredecessor(tbs, request.evidence, by);
}

function checkSerial(tbs: LeafTbs, name: string, { nowMs, config }: LeafJudgement): void {
  if (tbs.serial.length !== SERIAL_BYTES || tbs.serial[0] !== SERIAL_LEAD)
    deny('The serial number is not of our form.');
  if (tbs.serial.toString('hex') !== name) deny('The name of the request is not the serial number in the TBS.');
  // Status answers call a serial "never issued" by its hour: one from the future would be believed too early.
  if (tbs.serial.readUInt32BE(1) * HOUR_MS > nowMs + config.clockSkewSeconds * 1_000) {
    deny('The serial number carries an hour that has not come yet.');
  }
}

function checkLife(tbs: LeafTbs, { rule, config, issuer, nowMs }: LeafJudgement): void {
  const skewMs = config.clockSkewSeconds * 1_000;
  // notAfter is inclusive, so a life has one second more than the difference (RFC 5280 section 4.1.2.5).
  const lifeSeconds = (tbs.notAfterMs - tbs.notBeforeMs) / 1_000 + 1;
  if (lifeSeconds < 1) deny('The certificate ends before it begins.');
  if (lifeSeconds > rule.lifeSecondsMax) {
    throw new Refusal(
      'LIFETIME_EXCEEDS_CEILING',
      `The life of ${lifeSeconds} s is above the signer's ceiling of ${rule.lifeSecondsMax} s; shorten the profile.`,
    );
  }
  if (tbs.notAfterMs > issuer.notAfterMs) {
    throw new Refusal('LIFETIME_EXCEEDS_CEILING', 'The certificate would outlive its CA; use the next CA.');
  }
  if (tbs.notBeforeMs > nowMs + skewMs) deny('The certificate begins in the future.');
  if (tbs.notBeforeMs < nowMs - config.backdateSecondsMax * 1_000 - skewMs)
    deny('The certificate is backdated too far.');
}

function checkPublicKey(tbs: LeafTbs, request: SignRequest, by: LeafJudgement): void {
  const known = POINT_HEADS.some(
    (head, index) =>
      tbs.spkiDer.length === SPKI_LENGTHS[index] && tbs.spkiDer.compare(head, 0, head.length, 0, head.length) === 0,
  );
  if (!known) deny('The public key is not an uncompressed point on P-256 or P-384.');
  if (request.purpose === 'ocsp-signer') {
    const own = by.ocspSpki();
    if (!own?.equals(tbs.spkiDer)) deny("The public key is not this token's OCSP key for the CA.");
  } else if (by.tokenSpkis.has(tbs.spkiDer.toString('latin1'))) {
    deny("The public key is one of this token's own keys.");
  }
}

function checkExtensions(tbs: LeafTbs, request: SignRequest, by: LeafJudgement): void {
  for (const key of tbs.extensions.keys()) {
    if (!KNOWN_EXTENSIONS.has(key)) deny('The certificate has an extension that no profile of ours has.');
  }
  const basic = tbs.extensions.get(EXTENSION.basicConstraints);
  if (basic && !basic.value.equals(EMPTY_SEQUENCE)) deny('The certificate claims to be a CA.');
  checkKeyUsage(tbs);
  checkAuthorityKey(tbs, by.issuer);
  checkExtendedKeyUsage(tbs, by.rule);
  const noCheck = tbs.extensions.has(EXTENSION.ocspNoCheck);
  if (noCheck !== (request.purpose === 'ocsp-signer'))
    deny('ocsp-nocheck belongs in OCSP signer certificates and nowhere else.');
  checkNames(tbs, request.purpose, by.rule);
}

function checkKeyUsage(tbs: LeafTbs): void {
  const usage = tbs.extensions.get(EXTENSION.keyUsage);
  if (!usage) deny('The certificate has no key usage.');
  // By index: taking a Buffer apart as a list costs more than the check.
  const { 0: tag, 1: length, 3: bits } = usage.value;
  if (tag !== TAG.BIT_STRING || length === undefined || length < 2 || bits === undefined)
    deny('The key usage is malformed.');
  if ((bits & CA_USAGE_BITS) !== 0) deny('The key usage would let the certificate sign certificates or CRLs.');
}

function checkAuthorityKey(tbs: LeafTbs, issuer: KeyFacts): void {
  const authority = tbs.extensions.get(EXTENSION.authorityKeyIdentifier);
  if (!authority) deny('The certificate has no authority key identifier.');
  if (!authority.value.equals(issuer.authorityKeyDer)) deny('The authority key identifier is not that of the CA key.');
}

function checkExtendedKeyUsage(tbs: LeafTbs, rule: LeafRule): void {
  const extension = tbs.extensions.get(EXTENSION.extendedKeyUsage);
  if (!extension) deny('The certificate has no extended key usage.');
  // Certificates of one profile have the same bytes here: those accepted before need no second reading.
  const accepted = acceptedUsages.get(rule);
  if (accepted?.some((value) => value.equals(extension.value))) return;
  const found = new Set<string>();
  const list = readDer(extension.value, TAG.SEQUENCE, 'extended key usage');
  while (!list.atEnd) found.add(list.expect(TAG.OID).der.toString('latin1'));
  const isAllowed = rule.extendedKeyUsages.some((dotted) => {
    const wanted = dotted.map((one) => oid(one).toString('latin1'));
    return wanted.length === found.size && wanted.every((usage) => found.has(usage));
  });
  if (!isAllowed) deny('The extended key usages are not those of the purpose.');
  acceptedUsages.set(rule, [...(accepted ?? []), Buffer.from(extension.value)].slice(-USAGES_KEPT));
}

const acceptedUsages = new WeakMap<LeafRule, readonly Buffer[]>();
const USAGES_KEPT = 8;

function checkNames(tbs: LeafTbs, purpose: SignRequest['purpose'], rule: LeafRule): void {
  if (rule.dnsUnder === undefined) return;
  const names = tbs.extensions.get(EXTENSION.subjectAltName);
  if (!names) {
    // A unit in the factory may not have its operator's name yet; a gateway is told who connects by nothing else.
    if (purpose !== 'bootstrap') deny('The certificate has no subject alternative name.');
    return;
  }
  const list = readDer(names.value, TAG.SEQUENCE, 'subject alternative name');
  const name = list.expect(DNS_NAME_TAG, 'dNSName').content.toString('latin1');
  if (!list.atEnd) deny('The certificate has more than one name.');
  if (!name.endsWith(`.${rule.dnsUnder}`) || name.includes('*')) deny(`The name is not under ${rule.dnsUnder}.`);
}

/** Pre-issue renews an attested key that cannot change: only for the holder of a certificate we signed (rules 2.4). */
function checkPredecessor(tbs: LeafTbs, evidence: Buffer | undefined, by: LeafJudgement): void {
  if (!evidence) deny('A pre-issued certificate needs its predecessor as evidence.');
  const fields = readDer(evidence, TAG.SEQUENCE, 'predecessor');
  const body = fields.expect(TAG.SEQUENCE, 'predecessor');
  const algorithm = fields.expect(TAG.SEQUENCE, 'predecessor signature algorithm');
  const signature = wholeOctets(fields.expect(TAG.BIT_STRING, 'predecessor signature').content, 'predecessor');
  fields.end();
  const predecessor = readLeafTbs(body.der);
  const issuer = by.predecessorIssuers().find((candidate) => candidate.subjectDer.equals(predecessor.issuerDer));
  if (!issuer || !algorithm.der.equals(issuer.algorithmDer)) deny('The predecessor is not of a CA of ours.');
  if (!verify(issuer.hash, body.der, importPublicKey(issuer.spki), signature)) {
    deny("The predecessor's signature is not ours.");
  }
  if (!predecessor.spkiDer.equals(tbs.spkiDer) || !predecessor.subjectDer.equals(tbs.subjectDer)) {
    deny('The predecessor has another key or another subject.');
  }
  checkExtendedKeyUsage(predecessor, by.rule);
  // An old stolen certificate must not be turned into a fresh one for ever.
  if (predecessor.notAfterMs < by.nowMs - by.rule.lifeSecondsMax * 1_000) deny('The predecessor ended too long ago.');
}
