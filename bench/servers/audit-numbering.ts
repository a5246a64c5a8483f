/**
 * The sequencer in a process of its own, as the rotation worker runs it. argv[2]: database URL. Message `n` numbers what is
 * committed until the ledger has grown by n entries → its size.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { SEQUENCE_ENTRIES_MAX, SEQUENCER_LEASE } from '../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';

const LEASE_MS = 60_000;
/** As the worker's loop. */
const EVERY_MS = 200;

const pool = openPool(process.argv[2] ?? '', { applicationName: 'bench-numbering', connectionsMax: 2 });
const transactor = transactorOf(pool);
const leases = makeLeases(transactor);
const sequencer = makeSequencer({ transactor, leases });

async function number(wanted: number): Promise<number> {
  const lease = await leases.acquire(SEQUENCER_LEASE, 'bench', LEASE_MS);
  if (!lease) throw new Error('another sequencer is at work');
  for (let taken = 0; ; ) {
    const batch = await sequencer.sequenceOnce(lease);
    taken += batch.taken;
    if (taken >= wanted) return batch.size;
    if (batch.taken < SEQUENCE_ENTRIES_MAX) await sleep(EVERY_MS);
  }
}

process.on('message', (wanted: number) => void number(wanted).then((size) => process.send?.(size)));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
