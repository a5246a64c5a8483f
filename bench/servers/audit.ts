/**
 * Facts into the ledger as issuance writes them: a transaction of 256, three at once, while another process numbers what is
 * committed. Message `{entries}` → AuditRound, when the last of them has its number; `check` → findings.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { LedgerEntry } from '../../src/platform/ledger/ledger.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { checkChain } from '../measure/check-bulk.js';
import { startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import type { Round } from '../scenario.js';
import { cpuAn, startDurableWorld } from './durable-world.js';

const FLUSH_ROWS = 256;
const FLUSHES_AT_ONCE = 3;

export type AuditRound = Round & { readonly cpu: Record<string, number> };

const { world, ready, cpuNow, endWith } = await startDurableWorld();
const numbering = startPinned(new URL('./audit-numbering.ts', import.meta.url), WHOLE_MACHINE, [ready.databaseUrl]);
await numbering.next();
let appended = 0;

/** The facts of an intent, as ledger-facts.ts names them. */
function entryOf(n: number): LedgerEntry {
  const hash = randomBytes(80).toString('hex');
  return {
    kind: 'certificate.intended',
    subject: `unit:SN-${n}`,
    at: new Date(),
    body: {
      attemptId: randomUUID(),
      issuer: 'device-ca-1',
      issuerId: 1,
      serial: hash.slice(0, 32),
      purpose: 'operational',
      unitId: n,
      generation: 1,
      spkiSha256: hash.slice(32, 96),
      notAfter: '2026-12-25T00:00:00.000Z',
      tbsSha256: hash.slice(96),
      actor: `unit:SN-${n}`,
    },
  };
}

async function round(entries: number): Promise<AuditRound> {
  const flushes = Array.from({ length: Math.ceil(entries / FLUSH_ROWS) }, (_none, flush) =>
    Array.from({ length: FLUSH_ROWS }, (_zero, at) => entryOf(appended + flush * FLUSH_ROWS + at)),
  );
  const count = flushes.length * FLUSH_ROWS;
  appended += count;
  const before = { ...cpuNow(), numbering: numbering.cpuSeconds() };
  const startMs = performance.now();
  numbering.send(count);
  const lane = async (): Promise<void> => {
    for (let flush = flushes.shift(); flush; flush = flushes.shift()) {
      const some = flush;
      await world.transactor.run((tx) => ledger.append(tx, some));
    }
  };
  await Promise.all(Array.from({ length: FLUSHES_AT_ONCE }, lane));
  await numbering.next();
  const seconds = (performance.now() - startMs) / 1_000;
  const cost = cpuAn(count, before, { ...cpuNow(), numbering: numbering.cpuSeconds() });
  return { perSecond: count / seconds, ...cost, generatorBusy: 0 };
}

process.on('message', (order: { entries: number } | 'check') => {
  const answer = order === 'check' ? checkChain(world, appended) : round(order.entries);
  void answer.then((result) => process.send?.(result));
});
endWith(() => numbering.end());
process.send?.(ready);
