import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor } from '../model/index.js';
import type { Batch, NewUnit } from '../registry/index.js';
import { checkFactoryCredential } from './check-credential.js';
import type { FactoryDeps } from './factory-deps.js';
import type { BatchCloseReport, FactoryCaller } from './factory-office.js';
import { newUnits } from './new-units.js';
import { readManifest } from './read-manifest.js';
import { takenFaults } from './submit-manifest.js';

/** Rows in one statement: far inside the statement limit, few round trips. */
const CHUNK_ROWS = 5_000;

export async function acceptManifest(
  deps: FactoryDeps,
  { batchId, actor }: { batchId: number; actor: Actor },
): Promise<Batch> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const batch = await requireBatch(deps, tx, batchId);
    if (batch.state !== 'submitted') throw wrongState(batch, 'submitted');
    const [jws, maker, installation] = [
      await deps.makers.manifestJws(tx, batchId),
      await deps.makers.maker(tx, { id: batch.makerId }),
      await deps.installation.readInstallation(tx),
    ];
    if (jws === null || maker === null || installation === null) {
      throw new FemtoError('INTERNAL', 'The batch, its maker or the installation has no row; run femtopki doctor.');
    }
    // Verified again: between the two steps lay a database that others can write.
    const { manifest, sha256, faults, faultCount } = await readManifest(jws, maker);
    if (faultCount > 0 || !sha256.equals(batch.manifestSha256)) throw taken(faults);
    const clash = await takenFaults(deps, tx, manifest);
    if (clash.faultCount > 0) throw taken(clash.faults);
    const units = newUnits(manifest, installation.realm);
    for (let start = 0; start < units.length; start += CHUNK_ROWS) {
      await enterUnits(deps, tx, { batch, units: units.slice(start, start + CHUNK_ROWS), at, actor });
    }
    await deps.makers.setBatchState(tx, batchId, 'open', at);
    await deps.ledger.append(tx, [
      {
        kind: 'batch.accepted',
        subject: `batch:${batchId}`,
        at,
        body: {
          makerId: maker.id,
          name: batch.name,
          unitCount: units.length,
          manifestSha256: sha256.toString('hex'),
          actor,
        },
      },
    ]);
    return { ...batch, state: 'open', acceptedAt: at };
  });
}

export async function closeBatch(
  deps: FactoryDeps,
  { batchId, makerId, actor }: { batchId: number; makerId?: number; actor: Actor },
): Promise<BatchCloseReport> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const batch = await requireBatch(deps, tx, batchId, makerId);
    if (batch.state !== 'open') throw wrongState(batch, 'open');
    const counts = await deps.makers.countByState(tx, batchId);
    const missing = counts['MANIFESTED'] ?? 0;
    const scrapped = counts['RETIRED'] ?? 0;
    const report: BatchCloseReport = {
      batchId,
      name: batch.name,
      manifested: batch.unitCount,
      enrolled: batch.unitCount - missing - scrapped,
      scrapped,
      missing,
      closedAt: at,
    };
    await deps.makers.setBatchState(tx, batchId, 'closed', at);
    const { closedAt, ...counted } = report;
    await deps.ledger.append(tx, [
      {
        kind: 'batch.closed',
        subject: `batch:${batchId}`,
        at,
        body: { ...counted, closedAt: closedAt.toISOString(), makerId: batch.makerId, actor },
      },
    ]);
    return report;
  });
}

/** From the factory floor: the batch must be the caller's maker's, and its credential good for it here and now. */
export async function closeOwnBatch(
  deps: FactoryDeps,
  { caller, batchId, address }: { caller: FactoryCaller; batchId: number; address: string },
): Promise<BatchCloseReport> {
  const { makerId, actor } = caller;
  const batch = await deps.makers.batch(deps.transactor.read, { id: batchId });
  if (batch?.makerId !== makerId) throw noSuchBatch();
  await checkFactoryCredential(deps, { caller, batchId, address });
  return closeBatch(deps, { batchId, makerId, actor });
}

/** @throws FemtoError NOT_FOUND, also for another maker's batch (ADM-4) */
async function requireBatch(deps: FactoryDeps, tx: Transaction, batchId: number, makerId?: number): Promise<Batch> {
  const batch = await deps.makers.batch(tx, { id: batchId }, 'update');
  if (batch === null || (makerId !== undefined && batch.makerId !== makerId)) {
    throw noSuchBatch();
  }
  return batch;
}

async function enterUnits(
  deps: FactoryDeps,
  tx: Transaction,
  { batch, units, at, actor }: { batch: Batch; units: readonly NewUnit[]; at: Date; actor: Actor },
): Promise<void> {
  const ids = await deps.units.insert(tx, { makerId: batch.makerId, batchId: batch.id, at }, units);
  await deps.ledger.append(
    tx,
    units.map((unit, index) => ({
      kind: 'unit.manifested',
      subject: `unit:${unit.serialNumber}`,
      at,
      body: {
        unitId: ids[index] ?? null,
        makerId: batch.makerId,
        batchId: batch.id,
        eui: unit.eui,
        state: unit.state,
        vendorSpkiHash: unit.vendorSpkiHash?.toString('hex') ?? null,
        actor,
      },
    })),
  );
}

function noSuchBatch(): FemtoError {
  return new FemtoError('NOT_FOUND', 'There is no such batch; check its number.');
}

function wrongState(batch: Batch, expected: Batch['state']): FemtoError {
  return new FemtoError('STATE_CONFLICT', `The batch is ${batch.state}, not ${expected}; look at it again.`, {
    facts: { state: batch.state },
  });
}

function taken(faults: readonly string[]): FemtoError {
  return new FemtoError('STATE_CONFLICT', 'The manifest no longer fits the registry; nothing of it was entered.', {
    facts: { errors: faults },
  });
}
