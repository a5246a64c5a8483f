import { FemtoError } from '../../platform/errors.js';
import type { LineageView, SlotView, Verdict } from '../lineage/index.js';
import type { LineageSlot, ProvedCredential, Unit } from '../model/index.js';
import type { RenewalDeps } from './renewal-deps.js';

/** An operational key that came back, with what it was shown for. */
export interface Presented {
  readonly credential: ProvedCredential;
  readonly unit: Unit;
  /** The key that asks to follow; null where none does (confirm, advice). */
  readonly newSpkiHash: Buffer | null;
  /** Latest moment at which we know the old key in the caller's hand: handshake, or our nonce under its signature. */
  readonly provedAt: Date;
  /** False: only the stored answer may be given (a byte-identical repeat), nothing new. */
  readonly isFresh: boolean;
}

/** A verdict with what it was about. */
export interface Judged<Kind extends Verdict['kind'] = Verdict['kind']> {
  readonly presented: Presented;
  readonly view: LineageView;
  readonly slot: LineageSlot;
  readonly verdict: Verdict & { readonly kind: Kind };
}

export function windowOf({ generation, renewFrom, renewUntil }: LineageSlot) {
  return { generation, renewFrom, renewUntil };
}

/** Slot and lineage of the presented certificate. */
export async function lineageOf(
  { lineages, transactor }: Pick<RenewalDeps, 'lineages' | 'transactor'>,
  { record }: ProvedCredential,
): Promise<SlotView> {
  const found = record === null ? null : await lineages.viewBySerial(transactor.read, record.issuerId, record.serial);
  if (found === null)
    throw new FemtoError('NOT_RECORDED', 'The certificate belongs to no lineage; look at its record.');
  return found;
}
