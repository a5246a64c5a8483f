import { FemtoError } from '../platform/errors.js';
import { x509Time } from './der.js';
import { OID } from './oids.js';
import { type ParsedTbs, parseTbsCertificate } from './parsed-tbs.js';
import { type CertificateProfile, lifeSeconds, type Presence } from './profiles.js';
import type { IssuerSignature } from './signature-algorithm.js';

declare const linted: unique symbol;

/** A TBSCertificate that passed every rule. Only {@link lintTbs} makes one; signing takes nothing else. */
export interface LintedTbs {
  readonly tbsDer: Buffer;
  readonly profile: CertificateProfile;
  readonly [linted]: true;
}

/** What the caller knows about the certificate; a field left out is not compared. */
export interface LintExpectation {
  /** The issuer's own notAfter: no leaf outlives its issuer. */
  readonly issuerNotAfter: Date;
  readonly issuerSubjectDer?: Buffer;
  /** Issuer's SKI; the leaf's AKI must equal it. */
  readonly issuerKeyIdentifier?: Buffer;
  readonly issuerSignature?: IssuerSignature;
  readonly serial?: Buffer;
  readonly organization?: string;
  readonly commonName?: string;
  readonly sanDns?: readonly string[];
  readonly spkiHash?: Buffer;
  /** Tighter ceiling than the profile's, e.g. the signer's own file. */
  readonly lifeMaxSeconds?: number;
  readonly nameConstraintDns?: string;
}

/**
 * Reads a TBS again from its bytes and checks it against its profile, rule by rule.
 *
 * @throws FemtoError BAD_REQUEST with facts `rule` and `clause` for the first rule broken; LIFETIME_EXCEEDS_CEILING
 */
export function lintTbs(tbsDer: Buffer, profile: CertificateProfile, expected: LintExpectation): LintedTbs {
  const parsed = parseTbsCertificate(tbsDer);
  for (const [rule, clause, holds] of RULES) {
    if (holds(parsed, profile, expected)) continue;
    const code = rule.startsWith('life') ? 'LIFETIME_EXCEEDS_CEILING' : 'BAD_REQUEST';
    throw new FemtoError(
      code,
      `The certificate breaks rule ${rule} of profile ${profile.name} (${clause}); do not sign it.`,
      {
        facts: { rule, clause, profile: profile.name },
      },
    );
  }
  return { tbsDer, profile } as LintedTbs;
}

type Holds = (tbs: ParsedTbs, profile: CertificateProfile, expected: LintExpectation) => boolean;
type Rule = readonly [name: string, clause: string, holds: Holds];

const RULES: readonly Rule[] = [
  [
    'life-within-ceiling',
    'requirement KEY-4',
    (tbs, profile, { lifeMaxSeconds = Number.POSITIVE_INFINITY }) =>
      lifeSeconds(tbs.notBefore, tbs.notAfter) <= Math.min(profile.lifeMaxSeconds, lifeMaxSeconds),
  ],
  [
    'life-within-issuer',
    'RFC 5280 section 6.1.3',
    (tbs, _profile, { issuerNotAfter }) => tbs.notAfter.getTime() <= issuerNotAfter.getTime(),
  ],
  ['serial-length', 'RFC 5280 section 4.1.2.2', (tbs) => tbs.serial.length >= 16 && tbs.serial.length <= 20],
  ['serial-expected', 'design section 5 step 6', (tbs, _profile, { serial }) => same(tbs.serial, serial)],
  [
    'signature-algorithm',
    'RFC 5280 section 4.1.2.3',
    (tbs, _profile, { issuerSignature }) =>
      issuerSignature === undefined
        ? OUR_SIGNATURES.has(tbs.signatureAlgorithm)
        : tbs.signatureAlgorithm === issuerSignature,
  ],
  [
    'issuer-name',
    'RFC 5280 section 4.1.2.4',
    (tbs, _profile, { issuerSubjectDer }) => same(tbs.issuerDer, issuerSubjectDer),
  ],
  [
    'subject-organization',
    'TS 33.310 clause 6.1.1',
    (tbs, _profile, { organization }) =>
      tbs.organization !== undefined && (organization === undefined || tbs.organization === organization),
  ],
  [
    'subject-common-name',
    'TS 33.310 clause 6.1.1',
    (tbs, _profile, { commonName }) =>
      tbs.commonName !== undefined && (commonName === undefined || tbs.commonName === commonName),
  ],
  [
    'subject-role',
    'rules section 1.5',
    (tbs, { organizationalUnit }) => organizationalUnit === undefined || tbs.organizationalUnit === organizationalUnit,
  ],
  ['key-type', 'design section 9', (tbs) => tbs.spki.algorithm !== 'RSA'],
  ['key-expected', 'requirement KEY-1', (tbs, _profile, { spkiHash }) => same(tbs.spki.spkiHash, spkiHash)],
  [
    'key-usage',
    'RFC 5280 section 4.2.1.3',
    (tbs, { keyUsage }) => sameList(tbs.keyUsage, keyUsage) && isCritical(tbs, OID.keyUsage),
  ],
  ['extended-key-usage', 'RFC 5280 section 4.2.1.12', (tbs, { ekus }) => sameList(tbs.ekus, ekus)],
  ['basic-constraints', 'RFC 5280 section 4.2.1.9', basicConstraintsHold],
  ['name-constraints', 'RFC 5280 section 4.2.1.10', nameConstraintsHold],
  ['subject-alt-name', 'RFC 5280 section 4.2.1.6', subjectAltNameHolds],
  ['subject-key-identifier', 'RFC 5280 section 4.2.1.2', (tbs) => tbs.ski?.equals(tbs.spki.keyIdentifier) === true],
  [
    'authority-key-identifier',
    'RFC 5280 section 4.2.1.1',
    (tbs, { aki }, { issuerKeyIdentifier }) =>
      present(aki, tbs.aki === undefined ? 0 : 1) &&
      (tbs.aki === undefined || issuerKeyIdentifier === undefined || tbs.aki.equals(issuerKeyIdentifier)),
  ],
  [
    'crl-pointer',
    'RFC 5280 section 4.2.1.13',
    (tbs, { crlUrl }) => present(crlUrl, tbs.crlUrls.length) && tbs.crlUrls.every(isPlainHttp),
  ],
  [
    'ocsp-pointer',
    'RFC 5280 section 4.2.2.1',
    (tbs, { ocspUrl }) => present(ocspUrl, tbs.ocspUrls.length) && tbs.ocspUrls.every(isPlainHttp),
  ],
  [
    'ca-pointer',
    'RFC 5280 section 4.2.2.1',
    (tbs, { caUrl }) => present(caUrl, tbs.caUrls.length) && tbs.caUrls.every(isPlainHttp),
  ],
  ['ocsp-nocheck', 'RFC 6960 section 4.2.2.2.1', (tbs, { noCheck }) => tbs.hasNoCheck === noCheck],
  ['no-other-extension', 'requirement KEY-5', (tbs) => tbs.extensionOids.every((id) => WRITTEN.has(id))],
  ['time-encoding', 'RFC 5280 section 4.1.2.5', timesAreEncodedAsDue],
];

const OUR_SIGNATURES: ReadonlySet<string> = new Set(['ecdsa-with-SHA256', 'ecdsa-with-SHA384']);

/** Everything the template can write. noRevAvail, TLS feature and private extensions are deliberately not in it. */
const WRITTEN: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.subjectAltName,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
  OID.crlDistributionPoints,
  OID.authorityInfoAccess,
  OID.ocspNoCheck,
]);

function basicConstraintsHold(tbs: ParsedTbs, { ca }: CertificateProfile): boolean {
  if (ca === undefined) return !tbs.extensionOids.includes(OID.basicConstraints);
  return tbs.isCa && tbs.pathLen === ca.pathLen && isCritical(tbs, OID.basicConstraints);
}

function nameConstraintsHold(
  tbs: ParsedTbs,
  { nameConstraints }: CertificateProfile,
  { nameConstraintDns }: LintExpectation,
): boolean {
  if (nameConstraints === 'absent') return tbs.nameConstraints === undefined;
  const [realm, ...others] = tbs.nameConstraints?.permitted ?? [];
  return (
    realm?.kind === 'dns' &&
    others.length === 0 &&
    tbs.nameConstraints?.excluded.length === 0 &&
    isCritical(tbs, OID.nameConstraints) &&
    (nameConstraintDns === undefined || realm.value === nameConstraintDns)
  );
}

function subjectAltNameHolds(tbs: ParsedTbs, { san }: CertificateProfile, { sanDns }: LintExpectation): boolean {
  if (isCritical(tbs, OID.subjectAltName)) return false; // critical if and only if the subject is empty
  if (!tbs.sanDns.every((name) => HOST_NAME.test(name))) return false;
  if (sanDns !== undefined && !sameList(tbs.sanDns, sanDns)) return false;
  const others = tbs.sanOther.length;
  switch (san) {
    case 'one-dns':
      return tbs.sanDns.length === 1 && others === 0 && tbs.sanDns[0] === tbs.commonName;
    case 'optional-dns':
      return tbs.sanDns.length <= 1 && others === 0;
    case 'hosts':
      return tbs.sanDns.length + others > 0 && tbs.sanOther.every((name) => name.kind === 'ip');
    case 'absent':
      return tbs.sanDns.length + others === 0;
  }
}

/** UTCTime has 13 octets and a two-digit year; our own readers take both forms of any year, some verifiers do not. */
function timesAreEncodedAsDue(tbs: ParsedTbs): boolean {
  return [tbs.notBefore, tbs.notAfter].every((at) => tbs.tbsDer.includes(x509Time(at)));
}

// Lower case, no wildcard, no trailing dot (TS 23.003 clause 4.10; RFC 5280 section 4.2.1.6).
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** A fetch of revocation data over HTTPS can loop: it needs the very data to check its server. */
function isPlainHttp(url: string): boolean {
  return /^http:\/\/[^/]/.test(url);
}

function present(presence: Presence, count: number): boolean {
  if (presence === 'absent') return count === 0;
  return count === 1 || (presence === 'optional' && count === 0);
}

function isCritical(tbs: ParsedTbs, id: string): boolean {
  return tbs.extensions.find((entry) => entry.id === id)?.critical === true;
}

function same(found: Buffer, wanted: Buffer | undefined): boolean {
  return wanted === undefined || found.equals(wanted);
}

function sameList(found: readonly string[], wanted: readonly string[]): boolean {
  return found.length === wanted.length && found.every((value, index) => value === wanted[index]);
}
