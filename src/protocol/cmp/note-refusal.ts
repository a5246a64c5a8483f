import type { CmpDeps } from './cmp-deps.js';
import type { Exchange } from './exchange.js';
import { type Refusal, refusalOf } from './fail-info-table.js';

/** What was thrown, as the caller may see it, once it is on record. */
export async function noteRefusal(deps: CmpDeps, exchange: Exchange, thrown: unknown): Promise<Refusal> {
  const refusal = refusalOf(thrown);
  const { address, traceId } = exchange.call;
  const { error } = refusal;
  if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
  const unitSerialNumber = exchange.sender?.unit.serialNumber ?? null;
  const operation = `cmp ${exchange.bodyKind}`;
  await deps
    .recordRefusal({ unitSerialNumber, operation, error, address, traceId })
    .catch((failure: unknown) => deps.onInternal(failure, traceId));
  return refusal;
}
