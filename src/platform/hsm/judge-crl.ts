/**
 * May this CRL be signed? Judged by (CA, scope). A complete CRL: number and thisUpdate never fall (REV-3), and `good` is
 * judged by it alone. A delta or a shard says nothing of its own: it repeats, under the number and thisUpdate of the
 * complete CRL signed last, what that one says, so that no reader of parts believes less revoked than a reader of the whole.
 */
import { hash, verify } from 'node:crypto';
import { type CrlPart, type CrlShard, shardOfSerial, shardPart } from '../../x509/crl-part.js';
import { TAG } from '../../x509/der.js';
import { readDer, wholeOctets } from '../../x509/der-reader.js';
import { importPublicKey } from '../../x509/spki.js';
import type { SignRequest } from '../signer.js';
import { type NewestCrl, RECORD_BYTES } from './crl-memory.js';
import type { SignedPart } from './crl-parts.js';
import { compareLists, crlRecords, isInOrder, REASON_HOLD, REASON_REMOVE } from './crl-records.js';
import { type CrlTbs, readCrlTbs } from './crl-tbs.js';
import type { KeyFacts } from './issuer-facts.js';
import { deny, Refusal } from './refusal.js';

export interface CrlJudgement {
  readonly issuer: KeyFacts;
  readonly lifeSecondsMax: number;
  readonly skewMs: number;
  readonly nowMs: number;
  /** Highest complete CRL that was allowed, signed or not; its serials may be left out. */
  readonly newest: NewestCrl | undefined;
  /** The complete CRL signed last, with its serials. */
  readonly signed: () => NewestCrl | undefined;
  /** The part that was allowed last, signed or not. */
  readonly lastPart: (part: CrlPart) => SignedPart | undefined;
}

/** What to remember once it is signed. */
export type CrlConsequence =
  | { readonly kind: 'complete'; readonly crl: NewestCrl }
  | { readonly kind: 'part'; readonly part: CrlPart; readonly signed: SignedPart };

/** @throws Refusal; FemtoError BAD_REQUEST from the DER reader */
export function judgeCrl(request: SignRequest, by: CrlJudgement): CrlConsequence {
  const tbs = readCrlTbs(request.tbs, by.issuer);
  checkLife(tbs, by);
  const { scope } = tbs;
  if (scope.kind === 'complete') return { kind: 'complete', crl: judgeComplete(request, tbs, by) };
  const part = scope.kind === 'delta' ? 'delta' : shardPart(scope.shard);
  const whole = wholeOf(request, tbs, part, by);
  if (scope.kind === 'delta') judgeDelta(tbs, whole, baseOf(request, scope.base, tbs, by));
  else judgeShard(tbs, whole, scope.shard);
  return { kind: 'part', part, signed: { number: tbs.number, tbsSha256Hex: hash('sha256', request.tbs) } };
}

function judgeComplete(request: SignRequest, tbs: CrlTbs, { newest }: CrlJudgement): NewestCrl {
  const { number, thisUpdateMs } = tbs;
  if (request.name !== `crl:${request.keyLabel}:${number}`)
    deny('The name of the request is not crl:<CA>:<number> of the TBS.');
  if (newest && number <= newest.number) deny(`CRL number ${number} is not above ${newest.number}, signed before.`);
  if (newest && thisUpdateMs < newest.thisUpdateMs) deny('thisUpdate lies before that of the CRL signed before.');
  const { serials, reasons } = crlRecords(tbs.entriesDer);
  if (reasons.includes(REASON_REMOVE)) deny('Only a delta may say removeFromCRL.');
  return { number, thisUpdateMs, serials };
}

/** The complete CRL that a part must agree with. */
function wholeOf(request: SignRequest, tbs: CrlTbs, part: CrlPart, by: CrlJudgement): NewestCrl {
  const { number, thisUpdateMs } = tbs;
  if (request.name !== `crl-part:${request.keyLabel}:${part}:${number}`)
    deny('The name of the request is not crl-part:<CA>:<part>:<number> of the TBS.');
  const last = by.lastPart(part);
  // Asked again after a lost answer: the same bytes, and no others.
  const isRepeated = last?.number === number && last.tbsSha256Hex === hash('sha256', request.tbs);
  if (last && number <= last.number && !isRepeated)
    deny(`Number ${number} of ${part} is not above ${last.number}, signed before.`);
  const whole = by.signed();
  if (whole?.number !== number || whole.thisUpdateMs !== thisUpdateMs) {
    deny(`A ${part} has number and thisUpdate of the complete CRL signed last (RFC 5280 section 5.2.3).`);
  }
  return whole;
}

interface Base {
  readonly serials: Buffer;
  readonly reasons: Buffer;
}

/** The base comes as evidence, whole: that this CA's key signed it is what makes it one of ours. */
function baseOf(request: SignRequest, number: bigint, delta: CrlTbs, { issuer }: CrlJudgement): Base {
  if (!request.evidence) deny('A delta needs its base CRL as evidence.');
  const fields = readDer(request.evidence, TAG.SEQUENCE, 'base CRL');
  const tbsDer = fields.expect(TAG.SEQUENCE, 'tbsCertList').der;
  fields.expect(TAG.SEQUENCE, 'signature algorithm');
  const signature = wholeOctets(fields.expect(TAG.BIT_STRING, 'signature').content, 'base CRL');
  fields.end();
  const base = readCrlTbs(tbsDer, issuer);
  if (base.scope.kind !== 'complete' || base.number !== number || number >= delta.number) {
    deny('The evidence is not the earlier complete CRL that the delta names as its base.');
  }
  if (!verify(issuer.hash, tbsDer, importPublicKey(issuer.spki), signature)) deny('The base CRL is not signed by us.');
  // Rules 6.5: nobody may hold it any more, so nobody could use the delta.
  if (base.nextUpdateMs <= delta.thisUpdateMs) deny('The base CRL has passed its nextUpdate.');
  return crlRecords(base.entriesDer);
}

/** Base and delta together must give what the complete CRL of the same number says (RFC 5280 section 5.2.4). */
function judgeDelta(delta: CrlTbs, whole: NewestCrl, base: Base): void {
  const { serials, reasons } = crlRecords(delta.entriesDer);
  if (![serials, base.serials, whole.serials].every(isInOrder)) {
    deny('A delta is judged only where it, its base and the complete CRL list each serial once, in rising order.');
  }
  const isRemoved = new Map<string, boolean>();
  for (const [index, reason] of reasons.entries()) {
    isRemoved.set(recordAt(serials, index * RECORD_BYTES), reason === REASON_REMOVE);
  }
  const absent = new Set<string>();
  const noteAbsent = (at: number): void => void absent.add(recordAt(serials, at));
  compareLists(serials, whole.serials, { onlyLeft: noteAbsent, onlyRight: () => undefined });
  for (const [serial, removed] of isRemoved) {
    if (removed && !absent.has(serial)) deny('The delta removes a serial that the complete CRL lists.');
    if (!removed && absent.has(serial)) deny('The delta lists a serial that the complete CRL does not.');
  }
  compareLists(base.serials, whole.serials, {
    onlyLeft: (at) => {
      // Only a hold may be lifted; what expired leaves the complete CRL and is passed over here.
      if (isRemoved.get(recordAt(base.serials, at)) && base.reasons[at / RECORD_BYTES] !== REASON_HOLD)
        deny('The delta removes a serial that its base lists as more than held.');
    },
    onlyRight: (at) => {
      if (!isRemoved.has(recordAt(whole.serials, at)))
        deny('The delta leaves out a serial that was revoked since its base.');
    },
  });
}

/** A shard is the complete CRL with the other shards' entries taken out. */
function judgeShard(tbs: CrlTbs, whole: NewestCrl, { count, index }: CrlShard): void {
  const { serials, reasons } = crlRecords(tbs.entriesDer);
  if (reasons.includes(REASON_REMOVE)) deny('Only a delta may say removeFromCRL.');
  let at = 0;
  for (let from = 0; from < whole.serials.length; from += RECORD_BYTES) {
    const end = from + RECORD_BYTES;
    if (shardOfSerial(whole.serials.subarray(end - 1, end), count) !== index) continue;
    if (at >= serials.length || serials.compare(whole.serials, from, end, at, at + RECORD_BYTES) !== 0)
      deny('The shard does not list the same serials, in the same order, as the complete CRL.');
    at += RECORD_BYTES;
  }
  if (at !== serials.length) deny('The shard lists more serials than the complete CRL.');
}

function recordAt(records: Buffer, at: number): string {
  return records.toString('latin1', at, at + RECORD_BYTES);
}

function checkLife(
  { thisUpdateMs, nextUpdateMs }: CrlTbs,
  { lifeSecondsMax, nowMs, skewMs, newest }: CrlJudgement,
): void {
  const lifeSeconds = (nextUpdateMs - thisUpdateMs) / 1_000;
  if (lifeSeconds <= 0) deny('nextUpdate is not after thisUpdate.');
  if (lifeSeconds > lifeSecondsMax) {
    throw new Refusal(
      'LIFETIME_EXCEEDS_CEILING',
      `The CRL lives ${lifeSeconds} s; the signer's ceiling is ${lifeSecondsMax} s.`,
    );
  }
  // After a clock was set back the next CRL repeats the last thisUpdate, which must not fall; that one was judged before.
  const isRepeated = thisUpdateMs === newest?.thisUpdateMs;
  if (thisUpdateMs > nowMs + skewMs && !isRepeated) deny('thisUpdate lies in the future.');
}
