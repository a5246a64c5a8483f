/**
 * The engine's two transactions alone, T1 and T2, over drafts that were built, signed and checked before the clock runs.
 * Message `{prepare}` makes that many; `'round'` records them all → PersistRound; `'cpu'` → CPU seconds of the database;
 * `check` → findings. argv[2]: directory for the recorded rows as binary COPY.
 */

import { makeDrafter } from '../../src/lifecycle/issuance/draft-certificate.js';
import { recordCertificates, type SignedDraft } from '../../src/lifecycle/issuance/record-certificates.js';
import { recordIntents } from '../../src/lifecycle/issuance/record-intents.js';
import { makeSignDrafts } from '../../src/lifecycle/issuance/sign-drafts.js';
import type { Issuer } from '../../src/lifecycle/model/index.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { systemClock, systemRandom } from '../../src/platform/system-clock.js';
import { OPERATOR } from '../../test/support/issuance-rooms.js';
import { operational } from '../../test/support/issuance-world.js';
import { checkBulk } from '../measure/check-bulk.js';
import type { Round } from '../scenario.js';
import { startRowCopies } from './copied-rows.js';
import { cpuAn, startDurableWorld } from './durable-world.js';

/** As the engine's own flushes. */
const FLUSH_ROWS = 256;
const FLUSHES_AT_ONCE = 3;

export interface PersistReady {
  readonly databaseUrl: string;
}

export type PersistRound = Round & {
  readonly rows: number;
  readonly cpu: Record<string, number>;
  /** Its flushes as the directory has them. */
  readonly flushes: readonly number[];
};

const [dir = ''] = process.argv.slice(2);
const { world, ready, cpuNow, endWith } = await startDurableWorld();
const copies = await startRowCopies(ready.databaseUrl, FLUSH_ROWS);
const urlsOf = ({ label }: Issuer) => ({
  crlUrl: `http://127.0.0.1:8080/crl/${label}.crl`,
  ocspUrl: 'http://127.0.0.1:8080/ocsp',
  caUrl: `http://127.0.0.1:8080/ca/${label}.cer`,
});
const draft = makeDrafter({ clock: systemClock, random: systemRandom, operator: OPERATOR, urlsOf });
const signDrafts = makeSignDrafts(world.signer);
const deps = { ...world.reconciler, ledger };
const issuer = world.issuer('device-ca-1');
const stock: Omit<SignedDraft, 'slotId'>[][] = [];
let issued = 0;
let refused = 0;
let firstRefusal = '';

async function prepare(count: number): Promise<void> {
  for (let made = 0; made < count; made += FLUSH_ROWS) {
    const drafts = (await world.addUnits(FLUSH_ROWS)).map((unit) => draft(operational(unit), issuer));
    const signed = await signDrafts(drafts);
    stock.push(
      drafts.flatMap((one, index) => {
        const result = signed[index];
        return result?.ok ? [{ draft: one, der: result.der }] : [];
      }),
    );
  }
}

async function flush(rows: (typeof stock)[number]): Promise<void> {
  const at = systemClock.now();
  const drafts = rows.map((row) => row.draft);
  const intents = await world.transactor.run((tx) => recordIntents(deps, tx, drafts, at));
  const signed = rows.flatMap((row) => {
    const intent = intents.get(row.draft.attemptId);
    return intent?.ok ? [{ ...row, slotId: intent.slotId }] : [];
  });
  const outcomes = await recordCertificates(deps, signed, at);
  refused += rows.length - signed.length;
  for (const outcome of outcomes.values()) {
    if (outcome.ok) issued += 1;
    else {
      refused += 1;
      firstRefusal ||= `${outcome.error.code}: ${outcome.error.message}`;
    }
  }
}

async function round(): Promise<PersistRound> {
  const from = issued;
  const before = cpuNow();
  const startMs = performance.now();
  const lane = async (): Promise<void> => {
    for (let rows = stock.shift(); rows; rows = stock.shift()) await flush(rows);
  };
  await Promise.all(Array.from({ length: FLUSHES_AT_ONCE }, lane));
  const seconds = (performance.now() - startMs) / 1_000;
  const rows = issued - from;
  const cost = cpuAn(rows, before, cpuNow());
  return { perSecond: rows / seconds, ...cost, generatorBusy: 0, rows, flushes: await copies.take(dir) };
}

type Order = { prepare: number } | 'round' | 'cpu' | 'check';
const obey = async (order: Order): Promise<unknown> => {
  if (order === 'round') return round();
  if (order === 'cpu') return cpuNow().database;
  if (order === 'check') return checkBulk(world, { issued, refused, firstRefusal });
  return prepare(order.prepare).then(() => 'prepared');
};
process.on('message', (order: Order) => void obey(order).then((answer) => process.send?.(answer)));
endWith(() => copies.end());
process.send?.({ databaseUrl: copies.databaseUrl } satisfies PersistReady);
