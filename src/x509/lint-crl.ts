import { FemtoError } from '../platform/errors.js';
import { CrlEntryCursor } from './crl-entries.js';
import { CRL_REASONS } from './crl-reason.js';
import { x509Time } from './der.js';
import type { CrlHead } from './read-crl.js';

/** What the publisher knows; a field left out is not compared. */
export interface CrlExpectation {
  readonly issuerSubjectDer?: Buffer;
  readonly issuerKeyIdentifier?: Buffer;
  /** The number must be above this one. */
  readonly previousNumber?: bigint;
  /** thisUpdate must not lie before this one. */
  readonly previousThisUpdate?: Date;
  /** Longest nextUpdate − thisUpdate; 24 h for Device, Bootstrap and Services CAs, 100 days for roots. */
  readonly lifeMaxSeconds: number;
  readonly entryCount?: number;
  /** `leaf`: entries may not say cACompromise; `any` (default). */
  readonly scope?: 'leaf' | 'any';
}

/**
 * Rules for our own CRLs before and after signing.
 *
 * @throws FemtoError BAD_REQUEST with facts `rule` and `clause`
 */
export function lintCrl<List extends CrlHead>(crl: List, expected: CrlExpectation): List {
  for (const [rule, clause, holds] of RULES) {
    if (!holds(crl, expected)) refuse(rule, clause);
  }
  const count = properEntries(crl, expected);
  if (count === undefined) refuse('entries', 'RFC 5280 section 5.3');
  if (expected.entryCount !== undefined && expected.entryCount !== count) refuse('entry-count', 'rules section 6.5');
  return crl;
}

function refuse(rule: string, clause: string): never {
  throw new FemtoError('BAD_REQUEST', `The CRL breaks rule ${rule} (${clause}); do not publish it.`, {
    facts: { rule, clause },
  });
}

type Rule = readonly [name: string, clause: string, holds: (crl: CrlHead, expected: CrlExpectation) => boolean];

const RULES: readonly Rule[] = [
  [
    'issuer-name',
    'RFC 5280 section 5.1.2.3',
    (crl, { issuerSubjectDer }) => issuerSubjectDer === undefined || crl.issuerDer.equals(issuerSubjectDer),
  ],
  ['signature-algorithm', 'RFC 5280 section 5.1.2.2', (crl) => crl.signatureAlgorithm.startsWith('ecdsa-with-')],
  ['next-update-present', 'RFC 5280 section 5.1.2.5', (crl) => crl.nextUpdate !== undefined],
  [
    'validity-period',
    'requirement REV-3',
    (crl, { lifeMaxSeconds }) => {
      const life = ((crl.nextUpdate?.getTime() ?? 0) - crl.thisUpdate.getTime()) / 1_000;
      return life > 0 && life <= lifeMaxSeconds;
    },
  ],
  [
    'time-encoding',
    'RFC 5280 section 5.1.2.4',
    (crl) =>
      crl.tbsDer.includes(x509Time(crl.thisUpdate)) &&
      (crl.nextUpdate === undefined || crl.tbsDer.includes(x509Time(crl.nextUpdate))),
  ],
  ['number-present', 'RFC 5280 section 5.2.3', (crl) => crl.number !== undefined],
  [
    'number-rises',
    'RFC 5280 section 5.2.3',
    (crl, { previousNumber }) => previousNumber === undefined || (crl.number ?? -1n) > previousNumber,
  ],
  [
    'time-does-not-go-back',
    'requirement REV-3',
    (crl, { previousThisUpdate }) =>
      previousThisUpdate === undefined || crl.thisUpdate.getTime() >= previousThisUpdate.getTime(),
  ],
  [
    'authority-key-identifier',
    'RFC 5280 section 5.2.1',
    (crl, { issuerKeyIdentifier }) =>
      crl.aki !== undefined && (issuerKeyIdentifier === undefined || crl.aki.equals(issuerKeyIdentifier)),
  ],
  ['distribution-point', 'RFC 5280 section 5.2.5', distributionPointHolds],
  [
    'delta-base-older',
    'RFC 5280 section 5.2.4',
    (crl) => crl.deltaBase === undefined || crl.deltaBase < (crl.number ?? 0n),
  ],
  ['freshest-crl', 'RFC 5280 section 5.2.6', freshestCrlHolds],
  ['no-other-extension', 'requirement KEY-5', (crl) => crl.extensionOids.every((id) => WRITTEN.has(id))],
];

/** AKI, CRLNumber, DeltaCRLIndicator, IssuingDistributionPoint, FreshestCRL. AIA is deliberately not in it. */
const WRITTEN: ReadonlySet<string> = new Set(['2.5.29.35', '2.5.29.20', '2.5.29.27', '2.5.29.28', '2.5.29.46']);

/** In a complete CRL only, and one plain HTTP URI: a delta names no delta, and our shards have none. */
function freshestCrlHolds({ extensionOids, freshestCrlUrls: urls, deltaBase, distributionPoint }: CrlHead): boolean {
  if (!extensionOids.includes('2.5.29.46')) return true;
  if (deltaBase !== undefined || distributionPoint !== undefined) return false;
  return urls.length === 1 && urls.every((url) => url.startsWith('http://'));
}

/** A name is there unless the CRL is about CA certificates only, and it is one plain HTTP URI. */
function distributionPointHolds({ distributionPoint: point }: CrlHead): boolean {
  if (point === undefined) return true;
  if (point.indirect || point.onlySomeReasons || point.onlyAttributeCerts) return false;
  if (!point.hasName) return point.onlyCaCerts;
  return point.urls.length === 1 && point.urls.every((url) => url.startsWith('http://'));
}

/**
 * One entry per serial, its date in the encoding due, with a reason that this kind of CRL may hold. A revocationDate after thisUpdate is not refused:
 * two hosts' clocks differ by a second, and a CRL that is not published is worse than such a date.
 *
 * @returns how many; undefined where one is not so
 */
function properEntries(crl: CrlHead, { scope = 'any' }: CrlExpectation): number | undefined {
  const cursor = new CrlEntryCursor(crl.entriesDer);
  let isOrdered = true;
  let count = 0;
  for (; cursor.next(); count += 1) {
    if (!cursor.isPlain && !isWrittenAsDue(cursor)) return undefined;
    const { reasonCode } = cursor;
    if (reasonCode === CRL_REASONS.removeFromCRL && crl.deltaBase === undefined) return undefined;
    if (reasonCode === CRL_REASONS.aACompromise) return undefined;
    if (scope === 'leaf' && reasonCode === CRL_REASONS.cACompromise) return undefined;
    isOrdered = isOrdered && cursor.isInOrder();
  }
  return isOrdered || isEachOnce(crl) ? count : undefined;
}

/** An entry in another form than our usual one. */
function isWrittenAsDue(cursor: CrlEntryCursor): boolean {
  const { der, revokedAt, reason, reasonWritten } = cursor.entry();
  return der.includes(x509Time(revokedAt)) && !(reasonWritten && reason === 'unspecified');
}

/** Lists of ours are in order of serial, where neighbours are compared; those of a ceremony are short. */
function isEachOnce(crl: CrlHead): boolean {
  const seen = new Set<string>();
  const cursor = new CrlEntryCursor(crl.entriesDer);
  while (cursor.next()) {
    const key = cursor.serial.toString('latin1');
    if (seen.has(key)) return false;
    seen.add(key);
  }
  return true;
}
