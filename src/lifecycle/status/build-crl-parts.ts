import { createHash } from 'node:crypto';
import {
  buildCrlTbs,
  CRL_REASONS,
  CrlEntryCursor,
  compareEntries,
  crlEntry,
  lintCrl,
  readCrl,
  readCrlHead,
} from '../../x509/crl.js';
import { type CrlPart, crlPartFile, shardOfSerial, shardPart } from '../../x509/crl-part.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import type { BehindCa } from './crl-part-store.js';

/** A part that passed the lint: the only thing that is sent to the signer. */
export interface BuiltPart {
  readonly part: CrlPart;
  readonly baseNumber: number | null;
  readonly tbsDer: Buffer;
  readonly entryCount: number;
  readonly entriesSha256: Buffer;
  /** Of a delta: its base, which the signer compares it with. */
  readonly evidence?: Buffer;
}

/** Above this a delta is no use to anybody; the next one builds on a newer base. */
const DELTA_ENTRIES_BYTES_MAX = 4 * 1_048_576;
const LIFE_SECONDS_MAX = 86_400;

/**
 * What has changed since the base: entries that are new or say more than they did, and a removeFromCRL for what was let go,
 * whether the base lists it or only a CRL after it did.
 *
 * @param released  by serial
 * @returns null where there has been too much
 * @see RFC 5280 sections 5.2.4, 5.3.1
 */
export function buildDelta(
  ca: BehindCa,
  lists: { completeDer: Buffer; baseDer: Buffer; released: readonly { serial: Buffer; at: Date }[] },
  algorithm: IssuerSignature,
): BuiltPart | null {
  const base = readCrlHead(lists.baseDer);
  const complete = readCrlHead(lists.completeDer);
  const changed: { serial: Buffer; der: Buffer }[] = [];
  let bytes = 0;
  const take = (serial: Buffer, der: Buffer): void => {
    bytes += der.length;
    if (bytes <= DELTA_ENTRIES_BYTES_MAX) changed.push({ serial: Buffer.from(serial), der: Buffer.from(der) });
  };
  const entryOf = ({ bytes: all, start, end }: CrlEntryCursor): Buffer => all.subarray(start, end);
  compareEntries(base.entriesDer, complete.entriesDer, {
    onlyInNext: (entry) => take(entry.serial, entryOf(entry)),
    inBoth: (before, now) => {
      if (!entryOf(before).equals(entryOf(now))) take(now.serial, entryOf(now));
    },
  });
  for (const { serial, der } of letGo(base.entriesDer, complete.entriesDer, lists.released)) take(serial, der);
  if (bytes > DELTA_ENTRIES_BYTES_MAX) return null;
  changed.sort((a, b) => a.serial.compare(b.serial));
  const built = build(ca, 'delta', algorithm, Buffer.concat(changed.map((entry) => entry.der)), {
    deltaBase: base.number ?? 0n,
  });
  return { ...built, baseNumber: Number(base.number), evidence: lists.baseDer };
}

/** All shards of a CA: its complete CRL divided by serial. */
export function buildShards(
  ca: BehindCa,
  { completeDer, count, statusUrl }: { completeDer: Buffer; count: number; statusUrl: string },
  algorithm: IssuerSignature,
): BuiltPart[] {
  const lists = Array.from({ length: count }, () => [] as Buffer[]);
  const cursor = new CrlEntryCursor(readCrlHead(completeDer).entriesDer);
  while (cursor.next()) {
    lists[shardOfSerial(cursor.serial, count)]?.push(cursor.bytes.subarray(cursor.start, cursor.end));
  }
  return lists.map((entries, index) => {
    const part = shardPart({ count, index });
    const distributionPointUrl = `${statusUrl}/crl/${crlPartFile(ca.label, part)}`;
    return build(ca, part, algorithm, Buffer.concat(entries), { distributionPointUrl });
  });
}

function build(
  ca: BehindCa,
  part: CrlPart,
  algorithm: IssuerSignature,
  entriesDer: Buffer,
  scope: { deltaBase: bigint } | { distributionPointUrl: string },
): BuiltPart {
  const { number, thisUpdate, nextUpdate } = ca.complete;
  const tbsDer = buildCrlTbs({
    issuerSubjectDer: ca.subjectDer,
    issuerKeyIdentifier: ca.keyIdentifier,
    alg: algorithm,
    number: BigInt(number),
    thisUpdate,
    nextUpdate,
    entries: [entriesDer],
    ...scope,
  });
  const { entryCount } = lintCrl(readCrl(tbsDer, { tbsOnly: true }), {
    issuerSubjectDer: ca.subjectDer,
    issuerKeyIdentifier: ca.keyIdentifier,
    lifeMaxSeconds: LIFE_SECONDS_MAX,
    scope: 'leaf',
  });
  return {
    part,
    baseNumber: null,
    tbsDer,
    entryCount,
    entriesSha256: createHash('sha256').update(entriesDer).digest(),
  };
}

/** Entries for what was let go and stands on no list now. */
function letGo(
  baseEntriesDer: Buffer,
  completeEntriesDer: Buffer,
  released: readonly { serial: Buffer; at: Date }[],
): Iterable<{ serial: Buffer; der: Buffer }> {
  const entries = released.map(({ serial, at }) => ({
    serial,
    der: crlEntry({ serial, revokedAt: at, reason: 'removeFromCRL' }),
  }));
  const wanted = new Map(entries.map((entry) => [entry.serial.toString('hex'), entry]));
  const releasedDer = Buffer.concat(entries.map(({ der }) => der));
  compareEntries(releasedDer, completeEntriesDer, {
    inBoth: ({ serial }) => void wanted.delete(serial.toString('hex')),
  });
  compareEntries(releasedDer, baseEntriesDer, {
    // What the base has for good is not let go, whatever the row says; the signer would refuse it too.
    inBoth: ({ serial }, { reasonCode }) => {
      if (reasonCode !== CRL_REASONS.certificateHold) wanted.delete(serial.toString('hex'));
    },
  });
  return wanted.values();
}
