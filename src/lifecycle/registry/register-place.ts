import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { canonicalAddress, isPrefix } from '../../platform/net/ip-address.js';
import type { Actor } from '../model/index.js';
import { checkName, IDENTIFIER } from './names.js';
import type { PlaceStore } from './place-store.js';
import type { Cell, Line } from './registry.js';

export interface PlaceDeps {
  readonly transactor: Transactor;
  readonly places: PlaceStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

export interface NewPrefix {
  /** `address/bits`; a single address counts as its whole length. */
  readonly prefix: string;
  /** Default true. */
  readonly authoritative?: boolean;
  /** Default now. */
  readonly validFrom?: Date;
  readonly validTo?: Date;
}

/**
 * Adds an access line, with the prefixes it has now.
 *
 * @throws FemtoError BAD_REQUEST; STATE_CONFLICT when the name, or a prefix from the same instant, is there already
 */
export async function registerLine(
  deps: PlaceDeps,
  request: { name: string; region?: string; prefixes?: readonly NewPrefix[]; actor: Actor },
): Promise<Line> {
  const name = checkName(request.name, 'line name', IDENTIFIER);
  // Coarse on purpose: a region, never a street (ADM-3).
  const region = request.region === undefined || request.region === '' ? '' : checkName(request.region, 'region');
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const line = await deps.places.addLine(tx, { name, region });
    if (line === null) throw new FemtoError('STATE_CONFLICT', `There is a line ${name} already; choose another name.`);
    for (const prefix of request.prefixes ?? []) await addPrefix(deps, tx, line.id, prefix, at);
    await deps.ledger.append(tx, [
      { kind: 'line.registered', subject: `line:${name}`, at, body: { lineId: line.id, actor: request.actor } },
    ]);
    return line;
  });
}

/**
 * Says that a prefix belongs to a line from now (or `validFrom`) on; where the prefix was another line's until then, that
 * row ends. More specific prefixes keep winning.
 *
 * @throws FemtoError NOT_FOUND; BAD_REQUEST; STATE_CONFLICT a row of the same prefix and instant
 */
export async function assignPrefix(
  deps: PlaceDeps,
  request: NewPrefix & { lineName: string; actor: Actor },
): Promise<void> {
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    const line = await deps.places.line(tx, { name: request.lineName }, 'update');
    if (line === null) throw new FemtoError('NOT_FOUND', 'There is no such line; add it first.');
    const prefix = checkPrefix(request.prefix);
    await deps.places.endPrefix(tx, prefix, request.validFrom ?? at);
    await addPrefix(deps, tx, line.id, request, at);
    await deps.ledger.append(tx, [
      { kind: 'line.prefix-assigned', subject: `line:${line.name}`, at, body: { prefix, actor: request.actor } },
    ]);
  });
}

/** @throws FemtoError BAD_REQUEST; STATE_CONFLICT when the cell identity is there already */
export async function registerCell(
  deps: PlaceDeps,
  request: { id: string; segwAddress: string; actor: Actor },
): Promise<Cell> {
  const id = checkName(request.id, 'cell identity', IDENTIFIER);
  const { segwAddress } = request;
  if (segwAddress !== '' && canonicalAddress(segwAddress) === null && !HOST_NAME.test(segwAddress)) {
    throw new FemtoError('BAD_REQUEST', 'The gateway address is neither an IP address nor a host name.');
  }
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    if (!(await deps.places.addCell(tx, { id, segwAddress }))) {
      throw new FemtoError('STATE_CONFLICT', `There is a cell identity ${id} already.`);
    }
    await deps.ledger.append(tx, [
      { kind: 'cell.registered', subject: `cell:${id}`, at, body: { actor: request.actor } },
    ]);
  });
  return { id, unitId: null, segwAddress };
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/;

async function addPrefix(
  { places }: PlaceDeps,
  tx: Parameters<PlaceStore['addPrefix']>[0],
  lineId: number,
  request: NewPrefix,
  at: Date,
): Promise<void> {
  const prefix = checkPrefix(request.prefix);
  const validFrom = request.validFrom ?? at;
  const validTo = request.validTo ?? null;
  if (validTo !== null && validTo <= validFrom)
    throw new FemtoError('BAD_REQUEST', 'The prefix ends before it begins.');
  const added = await places.addPrefix(tx, {
    prefix,
    lineId,
    authoritative: request.authoritative ?? true,
    validFrom,
    validTo,
  });
  if (!added) throw new FemtoError('STATE_CONFLICT', `Prefix ${prefix} has a row from that instant already.`);
}

function checkPrefix(text: string): string {
  const address = canonicalAddress(text);
  const prefix = address === null ? text : `${address}/${address.includes(':') ? 128 : 32}`;
  if (!isPrefix(prefix)) {
    throw new FemtoError('BAD_REQUEST', 'The prefix is not address/bits with zeros behind the bits.');
  }
  return prefix;
}
