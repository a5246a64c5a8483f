import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../platform/clock.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { failpoint, failpointAfter } from '../../platform/failpoint.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceOutcome, IssuedCertificate } from './issuance.js';
import type { IssuanceStore, LockedUnit } from './issuance-store.js';
import { certificateFacts, subjectOf } from './ledger-facts.js';
import { unitFault } from './record-intents.js';
import { type Hook, runHooks } from './run-hooks.js';

export interface RecordDeps {
  readonly transactor: Transactor;
  readonly store: IssuanceStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
  /** How long T2 is tried before its bytes are dropped; default 10 s. */
  readonly recordTriesMs?: number;
}

/** A draft whose signature verified. */
export interface SignedDraft {
  readonly draft: Draft;
  readonly slotId: number | null;
  readonly der: Buffer;
}

const RECORD_TRIES_MS = 10_000;
const PAUSE_MS = { first: 50, longest: 1_000 } as const;

/**
 * T2 for one flush: certificates, slots, ledger entries, where the attempt is still signing and the unit's epoch has not
 * moved. Tried for 10 s; after an unknown outcome the attempts are read again first (fault F5), so a certificate is
 * recorded once and delivered, or its bytes are dropped and the reconciler revokes its serial.
 *
 * @param createdAt  the instant of their intents: all of one T1
 * @returns outcomes by attempt id
 */
export async function recordCertificates(
  deps: RecordDeps,
  signed: readonly SignedDraft[],
  createdAt: Date,
): Promise<Map<string, IssuanceOutcome>> {
  const outcomes = new Map<string, IssuanceOutcome>();
  let open = [...signed];
  let together = true;
  let failure: unknown;
  const triesMs = deps.recordTriesMs ?? RECORD_TRIES_MS;
  for (let waitedMs = 0, pauseMs: number = PAUSE_MS.first; ; ) {
    const startMs = deps.clock.now().getTime();
    for (const rows of together ? [open] : open.map((row) => [row])) {
      try {
        for (const [id, outcome] of await recordOnce(deps, rows, createdAt)) outcomes.set(id, outcome);
      } catch (thrown) {
        failure = thrown;
        // One bad row must not cost its neighbours their certificates: from now on each has its own transaction.
        if (deps.store.faultOf(thrown) === 'row') together = false;
        for (const [id, outcome] of await alreadyDecided(deps, rows, createdAt)) outcomes.set(id, outcome);
      }
    }
    open = open.filter(({ draft }) => !outcomes.has(draft.attemptId));
    if (open.length === 0) return outcomes;
    if (waitedMs >= triesMs) break;
    await sleep(pauseMs);
    waitedMs += Math.max(pauseMs, deps.clock.now().getTime() - startMs);
    pauseMs = Math.min(PAUSE_MS.longest, pauseMs * 2);
  }
  for (const { draft } of open) outcomes.set(draft.attemptId, { ok: false, error: notRecorded(failure) });
  return outcomes;
}

async function recordOnce(
  deps: RecordDeps,
  rows: readonly SignedDraft[],
  createdAt: Date,
): Promise<Map<string, IssuanceOutcome>> {
  const outcomes = await failpointAfter('issue-commit', () =>
    deps.transactor.run((tx) => recordInTransaction(deps, tx, rows, createdAt)),
  );
  const missing = rows.filter(({ draft }) => !outcomes.has(draft.attemptId));
  // Not signing any more: our own commit whose acknowledgement was lost, or the reconciler was faster (F11).
  if (missing.length > 0) {
    for (const [id, outcome] of await readDecided(deps, missing, createdAt)) outcomes.set(id, outcome);
  }
  return outcomes;
}

/** What an attempt with an unknown outcome came to; attempts that are still signing are not in the answer. */
async function readDecided(
  deps: RecordDeps,
  rows: readonly SignedDraft[],
  createdAt: Date,
): Promise<Map<string, IssuanceOutcome>> {
  const ids = rows.map(({ draft }) => draft.attemptId);
  const states = await deps.store.attemptStates(deps.transactor.read, createdAt, ids);
  const outcomes = new Map<string, IssuanceOutcome>();
  for (const row of rows) {
    const { attemptId } = row.draft;
    const state = states.get(attemptId);
    if (state === 'issued') outcomes.set(attemptId, { ok: true, certificate: recordOf(row, createdAt) });
    if (state === 'abandoned') outcomes.set(attemptId, { ok: false, error: abandonedMeanwhile() });
  }
  return outcomes;
}

/** As {@link readDecided}; a database that cannot be read, either, decides nothing yet. */
async function alreadyDecided(
  deps: RecordDeps,
  rows: readonly SignedDraft[],
  createdAt: Date,
): Promise<Map<string, IssuanceOutcome>> {
  try {
    return await readDecided(deps, rows, createdAt);
  } catch {
    return new Map(); // the next try, or the reconciler, will know
  }
}

async function recordInTransaction(
  deps: RecordDeps,
  tx: Transaction,
  rows: readonly SignedDraft[],
  createdAt: Date,
): Promise<Map<string, IssuanceOutcome>> {
  const outcomes = new Map<string, IssuanceOutcome>();
  const unitIds = [...new Set(rows.flatMap(({ draft }) => draft.request.unitId ?? []))].sort((a, b) => a - b);
  const units = unitIds.length === 0 ? new Map<number, LockedUnit>() : await deps.store.lockUnits(tx, unitIds);
  // Asked again: a key blocked since T1 must not get its certificate.
  const blocked = await deps.store.blockedKeys(
    tx,
    rows.map(({ draft }) => draft.request.spki.spkiHash),
  );
  const fit = rows.filter(({ draft }) => {
    const { unitId, spki } = draft.request;
    const fault = blocked.has(spki.spkiHash.toString('hex'))
      ? new FemtoError('KEY_BLOCKED', 'This key is known to be compromised; generate a new one.')
      : unitFault(draft, unitId === null ? undefined : units.get(unitId));
    if (fault !== null) outcomes.set(draft.attemptId, { ok: false, error: fault });
    return fault === null;
  });
  const at = deps.clock.now();
  const record = async (inside: Transaction, some: readonly SignedDraft[]): Promise<readonly undefined[]> => {
    const certificates = some.map((row) => recordOf(row, at));
    const issued = await deps.store.recordIssued(inside, createdAt, certificates);
    const entries = some.flatMap(({ draft, der }) => {
      if (!issued.has(draft.attemptId)) return [];
      const unit = draft.request.unitId === null ? null : (units.get(draft.request.unitId) ?? null);
      return [
        { kind: 'certificate.issued', subject: subjectOf(draft, unit), at, body: certificateFacts(draft, { der }) },
      ];
    });
    await deps.ledger.append(inside, entries);
    for (const certificate of certificates) {
      if (issued.has(certificate.attemptId)) outcomes.set(certificate.attemptId, { ok: true, certificate });
    }
    return some.map(() => undefined);
  };
  const plain = fit.filter(({ draft }) => draft.request.withIssued === undefined);
  if (plain.length > 0) await record(tx, plain);
  const recordOne = oneOf(record);
  const hooks = fit.flatMap((row): Hook[] => {
    const { withIssued } = row.draft.request;
    if (withIssued === undefined) return [];
    // The hook and its certificate stand or fall together, apart from their neighbours.
    const work = async (inside: Transaction): Promise<void> => {
      await recordOne(inside, row);
      const outcome = outcomes.get(row.draft.attemptId);
      if (outcome?.ok) await withIssued(inside, outcome.certificate);
    };
    return [{ draft: row.draft, work }];
  });
  for (const [id, error] of await runHooks(deps.store, tx, hooks)) outcomes.set(id, { ok: false, error });
  await failpoint('before-issue-commit');
  return outcomes;
}

function recordOf({ draft, slotId, der }: SignedDraft, issuedAt: Date): IssuedCertificate {
  const { request } = draft;
  return {
    issuerId: draft.issuer.id,
    serial: draft.serial,
    purpose: request.purpose,
    unitId: request.unitId,
    machineId: request.machineId,
    slotId,
    generation: request.successor?.generation ?? null,
    spkiHash: request.spki.spkiHash,
    notBefore: draft.notBefore,
    notAfter: draft.notAfter,
    attemptId: draft.attemptId,
    issuedAt,
    der,
    renewFrom: draft.renewFrom,
    renewUntil: draft.renewUntil,
  };
}

function notRecorded(cause: unknown): FemtoError {
  return new FemtoError(
    'RETRY_LATER',
    'The certificate could not be recorded, so it does not exist; ask again shortly.',
    {
      cause,
      retryAfterSeconds: 75,
    },
  );
}

function abandonedMeanwhile(): FemtoError {
  return new FemtoError('RETRY_LATER', 'Making the certificate took too long and it was abandoned; ask again.', {
    retryAfterSeconds: 5,
  });
}
