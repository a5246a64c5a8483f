import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { SEQUENCER_LEASE } from '../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';
import type { StatusWorld } from './status-world.js';

/** Numbers all that is committed, when the test says so: nobody else holds the lease. */
export async function sequencerOf({ transactor }: Pick<StatusWorld, 'transactor'>): Promise<() => Promise<void>> {
  const leases = makeLeases(transactor);
  const lease = await leases.acquire(SEQUENCER_LEASE, 'test', 3_600_000);
  if (!lease) throw new Error('the sequencer lease is taken');
  const sequencer = makeSequencer({ transactor, leases });
  return async () => {
    while ((await sequencer.sequenceOnce(lease)).taken > 0);
  };
}
