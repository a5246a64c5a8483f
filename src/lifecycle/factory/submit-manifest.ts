import { createHash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor } from '../model/index.js';
import type { Maker } from '../registry/index.js';
import { FAULTS_SHOWN_MAX, FaultList } from './check-manifest-rows.js';
import type { FactoryDeps } from './factory-deps.js';
import type { Manifest, ManifestReport } from './manifest.js';
import { newUnits } from './new-units.js';
import { badManifest, makerHint, notSigned, type ReadManifest, readPayload, verifiedPayload } from './read-manifest.js';

/** A manifest is made for a batch that is being built, not kept in a drawer. */
const AGE_MAX_MS = 30 * 86_400_000;
const AHEAD_MAX_MS = 3_600_000;
/** Longer than any age that is accepted, so that a nonce can never come back. */
const NONCE_KEPT_MS = AGE_MAX_MS + AHEAD_MAX_MS + 86_400_000;
const CHUNK_ROWS = 5_000;

interface Submission {
  readonly jws: string;
  readonly dryRun: boolean;
  readonly actor?: Actor;
}

export async function submitManifest(deps: FactoryDeps, submission: Submission): Promise<ManifestReport> {
  const { jws } = submission;
  const makerName = makerHint(jws);
  const maker = makerName === null ? null : await deps.makers.maker(deps.transactor.read, { name: makerName });
  if (maker === null) throw notSigned();
  const payload = await verifiedPayload(jws, maker.manifestKeySpki);
  try {
    return await judgeManifest(deps, { maker, payload, ...submission });
  } catch (thrown) {
    // From here on the maker has proved itself: the refusal is its own, and is recorded under its name.
    if (!(thrown instanceof FemtoError)) throw thrown;
    throw new FemtoError(thrown.code, thrown.message, {
      facts: { ...thrown.facts, maker: maker.name },
      cause: thrown,
    });
  }
}

async function judgeManifest(
  deps: FactoryDeps,
  { maker, payload, jws, dryRun, actor }: Submission & { maker: Maker; payload: Buffer },
): Promise<ManifestReport> {
  const read = readPayload(payload, maker);
  if (maker.state === 'frozen') {
    throw new FemtoError('CREDENTIAL_FROZEN', 'The maker is frozen; ask the operator before sending anything more.');
  }
  const at = deps.clock.now();
  checkAge(read.manifest, at);
  const faults = read.faultCount > 0 ? read : await takenFaults(deps, deps.transactor.read, read.manifest);
  const report: ManifestReport = {
    maker: maker.name,
    batch: read.manifest.batch,
    rows: read.rowCount,
    faults: faults.faults,
    faultCount: faults.faultCount,
    dryRun,
    manifestSha256: read.sha256.toString('hex'),
    batchId: null,
  };
  if (dryRun) return report;
  if (report.faultCount > 0) throw refusedWhole(report);
  const batchId = await deps.transactor.run((tx) =>
    keepManifest(deps, tx, { maker, read, jws, at, actor: actor ?? `maker:${maker.name}` }),
  );
  return { ...report, batchId };
}

/** Rows whose identity somebody has already: every one named, whoever the other is, and nothing said about it. */
export async function takenFaults(
  deps: FactoryDeps,
  tx: Transaction,
  manifest: Manifest,
): Promise<{ faults: readonly string[]; faultCount: number }> {
  const list = new FaultList();
  const units = newUnits(manifest, '');
  for (let start = 0; start < units.length; start += CHUNK_ROWS) {
    const chunk = units.slice(start, start + CHUNK_ROWS);
    const taken = await deps.units.taken(tx, chunk);
    const [serialNumbers, euis, hardware, vendorKeys] = [
      taken.serialNumbers,
      taken.euis,
      taken.hardware,
      taken.vendorKeys,
    ].map((set) => new Set(set));
    chunk.forEach((unit, index) => {
      const row = start + index + 1;
      if (serialNumbers?.has(unit.serialNumber)) list.add(row, 'serialNumber is registered already');
      if (euis?.has(unit.eui)) list.add(row, 'eui is registered already');
      if (hardware?.has(`${unit.productClass}/${unit.hardwareId}`)) list.add(row, 'hardwareId is registered already');
      const vendorKey = unit.vendorSpkiHash?.toString('hex');
      if (vendorKey !== undefined && vendorKeys?.has(vendorKey))
        list.add(row, 'vendorSpkiSha256 is registered already');
    });
  }
  return { faults: list.shown, faultCount: list.count };
}

async function keepManifest(
  deps: FactoryDeps,
  tx: Transaction,
  kept: { maker: Maker; read: ReadManifest; jws: string; at: Date; actor: Actor },
): Promise<number> {
  const { maker, read, at } = kept;
  const { batch: name, model, firmwareSha256, units, nonce } = read.manifest;
  const nonceHash = createHash('sha256').update(`manifest\n${maker.id}\n${nonce}`).digest();
  if (!(await deps.guard.spendOnce(tx, nonceHash, new Date(at.getTime() + NONCE_KEPT_MS)))) {
    throw badManifest('was sent before: its nonce is spent');
  }
  const batch = await deps.makers.addBatch(tx, {
    makerId: maker.id,
    name,
    model,
    firmwareSha256,
    manifestSha256: read.sha256,
    manifestJws: kept.jws,
    unitCount: units.length,
    submittedAt: at,
  });
  if (batch === null) throw badManifest('was sent before, or its batch name is used');
  await deps.ledger.append(tx, [
    {
      kind: 'batch.submitted',
      subject: `batch:${batch.id}`,
      at,
      body: {
        makerId: maker.id,
        name,
        model,
        firmwareSha256,
        unitCount: units.length,
        manifestSha256: read.sha256.toString('hex'),
        actor: kept.actor,
      },
    },
  ]);
  return batch.id;
}

function checkAge({ createdAt }: Manifest, now: Date): void {
  const ageMs = now.getTime() - createdAt.getTime();
  if (ageMs > AGE_MAX_MS) throw badManifest('is older than 30 days');
  if (ageMs < -AHEAD_MAX_MS) throw badManifest('was made in the future');
}

function refusedWhole({ faults, faultCount }: ManifestReport): FemtoError {
  const more = faultCount > FAULTS_SHOWN_MAX ? ` (the first ${FAULTS_SHOWN_MAX} are named)` : '';
  return new FemtoError('BAD_REQUEST', `The manifest has ${faultCount} faults${more}; nothing of it was taken.`, {
    facts: { status: 422, errors: faults },
  });
}
