import { FemtoError } from '../platform/errors.js';
import { CrlEntryCursor } from './crl-entries.js';
import { CRL_REASONS } from './crl-reason.js';
import { x509Time } from './der.js';
import { type JudgedList, judgeNextList, NO_LIST } from './judged-list.js';
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
  lintCrlHead(crl, expected);
  const count = properEntries(crl, expected);
  if (count === undefined) refuse('entries', ENTRIES_CLAUSE);
  if (expected.entryCount !== undefined && expected.entryCount !== count) refuse('entry-count', 'rules section 6.5');
  return crl;
}

/** All rules but those on the entries, of which nobody has looked at one. */
function lintCrlHead(crl: CrlHead, expected: CrlExpectation): void {
  for (const [rule, clause, holds] of RULES) {
    if (!holds(crl, expected)) refuse(rule, clause);
  }
}

/**
 * The same rules on the next complete CRL of a CA, whose last list was judged before: what stands in both, octet by octet,
 * is not walked again.
 *
 * @param previous  judged for the same `scope`
 * @param onlyInPrevious  called with the cursor on each entry whose serial is gone; copy what you keep
 */
export function lintNextCrl(
  crl: CrlHead,
  expected: CrlExpectation,
  previous: JudgedList,
  onlyInPrevious: (entry: CrlEntryCursor) => void,
): JudgedList {
  lintCrlHead(crl, expected);
  const judged = judgeNextList(crl.entriesDer, previous, { isProper: properFor(crl, expected), onlyInPrevious });
  if (judged === undefined) refuse('entries', ENTRIES_CLAUSE);
  const count = judged.starts.length - 1;
  if (expected.entryCount !== undefined && expected.entryCount !== count) refuse('entry-count', 'rules section 6.5');
  return judged;
}

/** A list that somebody else wrote, judged as {@link lintNextCrl} needs it; undefined where it is not as ours are. */
export function judgeList(crl: CrlHead, expected: Pick<CrlExpectation, 'scope'>): JudgedList | undefined {
  return judgeNextList(crl.entriesDer, NO_LIST, { isProper: properFor(crl, expected) });
}

function refuse(rule: string, clause: string): never {
  throw new FemtoError('BAD_REQUEST', `The CRL breaks rule ${rule} (${clause}); do not publish it.`, {
    facts: { rule, clause },
  });
}

type Rule = readonly [name: string, clause: string, holds: (crl: CrlHead, expected: CrlExpectation) => boolean];

const ENTRIES_CLAUSE = 'RFC 5280 section 5.3';

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
function properEntries(crl: CrlHead, expected: CrlExpectation): number | undefined {
  const cursor = new CrlEntryCursor(crl.entriesDer);
  const isProper = properFor(crl, expected);
  let isOrdered = true;
  let count = 0;
  for (; cursor.next(); count += 1) {
    if (!isProper(cursor)) return undefined;
    isOrdered = isOrdered && cursor.isInOrder();
  }
  return isOrdered || isEachOnce(crl) ? count : undefined;
}

function properFor(
  { deltaBase }: CrlHead,
  { scope = 'any' }: Pick<CrlExpectation, 'scope'>,
): (entry: CrlEntryCursor) => boolean {
  return (entry) => {
    const { reasonCode } = entry;
    if (reasonCode === CRL_REASONS.removeFromCRL && deltaBase === undefined) return false;
    if (reasonCode === CRL_REASONS.aACompromise) return false;
    if (scope === 'leaf' && reasonCode === CRL_REASONS.cACompromise) return false;
    return entry.isPlain || isWrittenAsDue(entry);
  };
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
