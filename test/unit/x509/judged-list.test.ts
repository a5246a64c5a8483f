import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type CrlEntryCursor, crlEntry } from '../../../src/x509/crl.js';
import { type JudgedList, judgeNextList, NO_LIST } from '../../../src/x509/judged-list.js';

const AT = new Date(1_780_000_000_000);
const HOLD = 6;

interface Entry {
  readonly serial: number;
  readonly reason: number;
}

/** Serials of two octets and of sixteen: neighbours that differ in length, and entries that are no multiple of a word. */
function derOf({ serial, reason }: Entry): Buffer {
  const octets = Buffer.alloc(serial % 3 === 0 ? 2 : 16, 7);
  octets.writeUInt16BE(0x100 + serial);
  return crlEntry({ serial: octets, revokedAt: AT, reason });
}

const listOf = (entries: readonly Entry[]): Buffer => Buffer.concat(entries.map(derOf));
const bySerial = (entries: readonly Entry[]): Entry[] =>
  [...entries].sort((a, b) => derOf(a).subarray(4).compare(derOf(b).subarray(4)));
const serialOf = (entry: CrlEntryCursor): number => entry.serial.readUInt16BE() - 0x100;

interface Outcome {
  readonly judged: JudgedList | undefined | 'refused';
  readonly gone: number[];
  readonly looked: number;
}

/** Entries with reason 2 are not proper here. */
function judge(next: Buffer, previous: JudgedList = NO_LIST): Outcome {
  const gone: number[] = [];
  let looked = 0;
  const isProper = ({ reasonCode }: CrlEntryCursor): boolean => {
    looked += 1;
    return reasonCode !== 2;
  };
  try {
    const onlyInPrevious = (entry: CrlEntryCursor): void => void gone.push(serialOf(entry));
    return { judged: judgeNextList(next, previous, { isProper, onlyInPrevious }), gone, looked };
  } catch {
    return { judged: 'refused', gone, looked };
  }
}

function judgedOf(entries: readonly Entry[]): JudgedList {
  const { judged } = judge(listOf(entries));
  if (judged === undefined || judged === 'refused') throw new Error('the list was not judged');
  return judged;
}

const startsOf = ({ judged }: Outcome): number[] | string =>
  judged === undefined ? 'not proper' : judged === 'refused' ? judged : [...judged.starts];

const entries = fc
  .uniqueArray(fc.record({ serial: fc.nat(300), reason: fc.constantFrom(1, 4, HOLD) }), {
    selector: ({ serial }) => serial,
    maxLength: 120,
  })
  .map(bySerial);
/** What becomes of a list: some entries go, some say something else, some are new. */
const change = fc.record({
  goes: fc.array(fc.nat(300), { maxLength: 6 }),
  says: fc.array(fc.nat(300), { maxLength: 6 }),
  comes: fc.array(fc.nat(300), { maxLength: 6 }),
});

function changed(
  list: readonly Entry[],
  { goes, says, comes }: { goes: number[]; says: number[]; comes: number[] },
): Entry[] {
  const kept = list
    .filter(({ serial }) => !goes.includes(serial))
    .map((entry) => (says.includes(entry.serial) ? { ...entry, reason: 5 } : entry));
  const known = new Set(kept.map(({ serial }) => serial));
  return bySerial([
    ...kept,
    ...[...new Set(comes)].filter((serial) => !known.has(serial)).map((serial) => ({ serial, reason: 3 })),
  ]);
}

describe('a list that is judged by the one before it', () => {
  test('is judged as if nothing had been known, and what is gone is told, over many generations', () => {
    fc.assert(
      fc.property(entries, fc.array(change, { minLength: 1, maxLength: 6 }), (first, changes) => {
        let list = first;
        let judged = judgedOf(list);
        for (const one of changes) {
          const next = changed(list, one);
          const outcome = judge(listOf(next), judged);
          expect(startsOf(outcome)).toEqual(startsOf(judge(listOf(next))));
          const kept = new Set(next.map(({ serial }) => serial));
          expect(outcome.gone).toEqual(list.map(({ serial }) => serial).filter((serial) => !kept.has(serial)));
          if (outcome.judged === undefined || outcome.judged === 'refused') throw new Error('not judged');
          [list, judged] = [next, outcome.judged];
        }
      }),
      { numRuns: 100 },
    );
  });

  test('is refused wherever it would be refused if nothing had been known', () => {
    fc.assert(
      fc.property(entries, change, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (list, one, at, by, cut) => {
        const bent = listOf(changed(list, one));
        if (bent.length > 0) bent[at % bent.length] = (bent[at % bent.length] as number) ^ by;
        const short = bent.subarray(0, bent.length - (cut % (bent.length + 1)) * (cut % 2));
        expect(startsOf(judge(short, judgedOf(list)))).toEqual(startsOf(judge(short)));
      }),
      { numRuns: 150 },
    );
  });

  test('is not proper where a new entry is not, where one stands twice, and where two have changed places', () => {
    const list = Array.from({ length: 40 }, (_, serial) => ({ serial: 3 * serial + 1, reason: 1 }));
    const judged = judgedOf(list);
    const [a, b] = [list[20] as Entry, list[21] as Entry];
    const swapped = [...list.slice(0, 20), b, a, ...list.slice(22)];
    const twice = [...list.slice(0, 20), a, a, ...list.slice(21)];
    const repeated = [...list, a];
    const improper = [...list.slice(0, 20), { ...a, reason: 2 }, ...list.slice(21)];
    for (const next of [swapped, twice, repeated, improper])
      expect(startsOf(judge(listOf(next), judged))).toBe('not proper');
  });

  test('costs a look at what differs, not at what stands in both', () => {
    const list = Array.from({ length: 20_000 }, (_, serial) => ({ serial: 3 * serial + 1, reason: 1 }));
    const next = list.filter(({ serial }) => serial !== 3_001);
    next.splice(10_000, 0, { serial: (next[9_999] as Entry).serial + 1, reason: 1 });
    const { gone, looked, judged } = judge(listOf(next), judgedOf(list));
    expect(gone).toEqual([3_001]);
    expect(judged).toMatchObject({ starts: { length: 20_001 } });
    expect(looked).toBeLessThan(10);
  });
});
