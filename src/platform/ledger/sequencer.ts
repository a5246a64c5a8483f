import type { Lease } from '../db/lease.js';

export const SEQUENCER_LEASE = 'ledger-sequencer';
/** Channel that the sequencer notifies after each commit; payload `<epoch>:<last seq>`. A hint: cursors make it certain. */
export const LEDGER_CHANNEL = 'femtopki_ledger';
/** Entries numbered in one transaction at most: some 10 MB, well inside the statement timeout. */
export const SEQUENCE_ENTRIES_MAX = 5_000;

export interface SequencedBatch {
  readonly taken: number;
  readonly epoch: number;
  /** Size of the epoch's ledger after the batch: the last sequence number. */
  readonly size: number;
}

/** The one that numbers entries. Only the holder of {@link SEQUENCER_LEASE} may call it; each batch proves the lease. */
export interface Sequencer {
  /**
   * Numbers what is committed in the inbox, in the order of insertion, at most {@link SEQUENCE_ENTRIES_MAX}. An entry
   * whose transaction commits later is still in the inbox then and gets a later number: none is ever passed over.
   *
   * @throws FemtoError STATE_CONFLICT when the lease is lost; INTERNAL when ledger and frontier disagree (tampering or
   *   a partial restore): nothing more is numbered until a person has looked, and issuing stops by the backlog rule
   */
  sequenceOnce(lease: Lease): Promise<SequencedBatch>;
}
