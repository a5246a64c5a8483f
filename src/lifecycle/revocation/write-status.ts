import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { Slot } from '../../platform/ledger/entry-pattern.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import { REVOCATION_REASONS } from '../model/index.js';
import { type StatusRow, setStatusOf, setStatus as writeStatusRows } from '../status/index.js';
import type { CertificateReference, StatusChange } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';

/**
 * Status rows, epochs and ledger entries in one go. Units are locked (by raising their epoch) before any status row is,
 * and the CRL's dirty mark comes last: one order for everybody, so that two revocations cannot deadlock.
 *
 * @returns the rows that changed
 */
export async function writeStatus(
  deps: RevocationDeps,
  tx: Transaction,
  certificates: readonly CertificateReference[],
  change: StatusChange,
): Promise<StatusRow[]> {
  if (certificates.length === 0) return [];
  const unitIds = distinctUnits(certificates);
  // What replaces a superseded certificate is in flight at this very moment; everything else in flight is void.
  const voidsInFlight = change.voidsInFlight ?? (change.state !== 'released' && change.reason !== 'superseded');
  if (voidsInFlight && unitIds.length > 0) await deps.registry.raiseRevocationEpoch(tx, unitIds);
  return writeStatusRows(deps.statusRows, tx, certificates, change, async (changed) =>
    deps.ledger.append(tx, await entriesOf(deps, tx, changed, change)),
  );
}

/** The same for everything that a source names, in one statement where none of it has a status yet. Units are locked already. */
export function writeStatusOf(
  deps: RevocationDeps,
  tx: Transaction,
  source: RowSource,
  change: StatusChange & { readonly rest: () => Promise<readonly CertificateReference[]> },
): Promise<{ readonly changed: number; readonly unitIds: readonly number[] }> {
  const { state, reason, actor, at, note } = change;
  const code = state === 'held' ? REVOCATION_REASONS.certificateHold : REVOCATION_REASONS[reason];
  const body = {
    issuerId: new Slot('issuerId', 'number'),
    serial: new Slot('serial', 'text'),
    notAfter: new Slot('notAfter', 'text'),
    unitId: new Slot('unitId', 'number'),
    reason: REASON_NAMES.get(code) ?? code,
    actor,
    note,
  };
  return setStatusOf(deps.statusRows, tx, source, {
    state,
    reason,
    at,
    record: { kind: `certificate.${state}`, at, body },
    rest: async () => writeStatus(deps, tx, await change.rest(), { ...change, voidsInFlight: false }),
  });
}

async function entriesOf(
  deps: RevocationDeps,
  tx: Transaction,
  rows: readonly StatusRow[],
  { state, actor, at, note }: StatusChange,
): Promise<LedgerEntry[]> {
  const serialNumbers = await deps.store.serialNumbers(tx, distinctUnits(rows));
  return rows.map((row) => {
    const serial = row.serial.toString('hex');
    const unit = row.unitId === null ? undefined : serialNumbers.get(row.unitId);
    return {
      kind: `certificate.${state}`,
      subject: unit === undefined ? `certificate:${serial}` : `unit:${unit}`,
      at,
      body: {
        issuerId: row.issuerId,
        serial,
        notAfter: row.notAfter,
        unitId: row.unitId,
        reason: REASON_NAMES.get(row.reason) ?? row.reason,
        actor,
        note,
      },
    };
  });
}

export function distinctUnits(certificates: readonly { readonly unitId: number | null }[]): number[] {
  const ids = new Set<number>();
  for (const { unitId } of certificates) if (unitId !== null) ids.add(unitId);
  return [...ids].sort((a, b) => a - b);
}

const REASON_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(REVOCATION_REASONS).map(([name, code]) => [code, name]),
);
