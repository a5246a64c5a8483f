import type { CmpDeps } from './cmp-deps.js';
import type { Exchange } from './exchange.js';
import { type Refusal, refusalOf } from './fail-info-table.js';

/**
 * What was thrown, as the caller may see it, once it is on record: in the ledger as the unit's where the message is known to
 * be no recording, else counted as a stranger's, because anybody can send a recording again and again (rules 7.5).
 */
export async function noteRefusal(deps: CmpDeps, exchange: Exchange, thrown: unknown): Promise<Refusal> {
  const refusal = refusalOf(thrown);
  const { address, traceId } = exchange.call;
  const { error } = refusal;
  if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
  const unitSerialNumber = exchange.isFresh ? (exchange.sender?.unit.serialNumber ?? null) : null;
  const operation = `cmp ${exchange.bodyKind}`;
  await deps
    .recordRefusal({ unitSerialNumber, operation, error, address, traceId })
    .catch((failure: unknown) => deps.onInternal(failure, traceId));
  return refusal;
}
