import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LineageView } from '../lineage/index.js';
import type { CertificateRecord, Unit } from '../model/index.js';
import { type ActivationDeps, type Claim, idempotencyConflict } from './claim.js';
import type { IssuedAnswer } from './credential.js';
import type { Grant } from './grant-store.js';
import type { ClaimEvidence, FirstIssue } from './judge-claim.js';
import { nonceBad } from './nonce.js';

/** Steps 7 to 10 of an activation that may be issued. */
export async function issueFirst(
  deps: ActivationDeps,
  claim: Claim,
  verdict: FirstIssue,
  grant: Grant,
): Promise<IssuedAnswer> {
  // 7. The line, from our own resolver, never from the unit.
  const network = await checkLine(deps, claim, grant);
  await checkNetwork(deps, claim);
  const profile = await deps.registry.profile(deps.transactor.read, claim.unit.profile);
  if (profile === null) throw new FemtoError('INTERNAL', 'The unit’s profile is gone; set another one.');
  if (await deps.grants.isAdmissionFrozen(deps.transactor.read, claim.unit.model)) throw admissionFrozen();
  const { unit } = claim;
  // 8. Issuance: intent with grant, nonce and idempotency key; token; record with the unit's state and bindings.
  const certificate = await deps.issuance.issue({
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: claim.csr.spki,
    lifeSeconds: profile.lifeSeconds,
    revocationEpoch: unit.revocationEpoch,
    successor: {
      lineageId: verdict.lineageId,
      generation: 1,
      preissued: false,
      displacesSlotId: verdict.displacesSlotId,
      ...(verdict.closes === null ? {} : { closesLineageId: verdict.closes.lineage.id }),
    },
    actor: actorOf(unit),
    sameKeyAllowed: verdict.sameKeyAllowed,
    facts: { operation: 'activate', grantId: grant.id, network, address: claim.credential.address },
    withIntent: async (tx, attemptId) => {
      await spend(deps, claim, grant, tx, attemptId);
      if (verdict.grade !== null && verdict.lineageId !== null) {
        const { grade, lineageId, displacesSlotId: successorSlotId } = verdict;
        await recordClaim(deps, claim, { grade, lineageId, successorSlotId, row: DISPLACED }, tx);
      }
    },
    withIssued: async (tx, issued) => {
      await activateUnit(deps, claim, grant, tx, issued);
      if (verdict.closes !== null) await endCertificates(deps, claim, verdict.closes, tx);
    },
  });
  // 9. The answer.
  const { generation, renewFrom, renewUntil } = certificate;
  return { certificate, generation: generation ?? 1, renewFrom, renewUntil, repeated: false };
}

/** `NET_UNKNOWN` is soft evidence in the record and stops nobody (rules 5.5). */
export async function checkLine(deps: ActivationDeps, { credential }: Claim, grant: Grant): Promise<string> {
  const line = await deps.registry.lineAt(deps.transactor.read, credential.address, deps.clock.now());
  if (line === null || !line.authoritative) return 'NET_UNKNOWN';
  if (line.lineId === grant.lineId) return `line:${line.name}`;
  throw new FemtoError(
    'LINE_MISMATCH',
    'The unit calls from another line than its grant names; order the move first.',
    {
      facts: { line: line.name, grantId: grant.id },
    },
  );
}

/** @throws FemtoError NET_*; a unit that may only repair itself may do this */
async function checkNetwork(deps: ActivationDeps, { credential, unit }: Claim): Promise<void> {
  const { address } = credential;
  const asked = { event: 'enrolment', unitId: unit.id, address, restrictedMay: 'go on' } as const;
  await deps.network.check(deps.transactor.read, asked);
}

/** Runs in T1: any of these refuses this row alone, and gives back what the others took. */
async function spend(
  deps: ActivationDeps,
  claim: Claim,
  grant: Grant,
  tx: Transaction,
  attemptId: string,
): Promise<void> {
  const at = deps.clock.now();
  const credential = claim.credential.certificate.spki.spkiHash;
  if (await deps.grants.isAdmissionFrozen(tx, claim.unit.model)) throw admissionFrozen();
  if (claim.idempotencyKey !== null) {
    const key = { credential, operation: 'activate', key: claim.idempotencyKey };
    const outcome = await deps.guard.claimKey(tx, { ...key, requestHash: claim.requestHash, attemptId, at });
    if (outcome === 'other') throw idempotencyConflict();
  }
  if (claim.nonce !== null && !(await deps.guard.spendNonce(tx, claim.nonce))) throw nonceBad('was used before');
  await bindLine(deps, claim, grant, tx);
  // A spent grant stands here only for its own lineage: a displaced or abandoned generation 1 (rules section 4).
  if (grant.state === 'spent') return;
  if (!(await deps.grants.spend(tx, { grantId: grant.id, attemptId, at }))) {
    throw new FemtoError('STATE_CONFLICT', 'The grant was used or ended meanwhile; ask again.');
  }
  const body = { grantId: grant.id, attemptId };
  await deps.ledger.append(tx, [{ kind: 'grant.spent', subject: actorOf(claim.unit), at, body }]);
}

/**
 * The grant's line becomes the unit's: in T1, so that a line that is taken refuses the request before anything is signed.
 *
 * @throws FemtoError STATE_CONFLICT when another unit holds the line
 */
async function bindLine(deps: ActivationDeps, { unit }: Claim, grant: Grant, tx: Transaction): Promise<void> {
  const { registry } = deps;
  const binding = { unitId: unit.id, actor: actorOf(unit), at: deps.clock.now() };
  const now = await registry.unitById(tx, unit.id);
  if (now?.lineId === grant.lineId) return;
  if (now?.lineId !== null) await registry.releaseLine(tx, binding);
  await registry.bindLine(tx, { ...binding, lineId: grant.lineId });
}

/** Runs in T2: with the certificate recorded the unit is ACTIVE and has its cell. */
async function activateUnit(
  deps: ActivationDeps,
  { unit }: Claim,
  grant: Grant,
  tx: Transaction,
  issued: CertificateRecord,
): Promise<void> {
  const { registry } = deps;
  const at = issued.issuedAt;
  const actor = actorOf(unit);
  const now = await registry.unitById(tx, unit.id, { lock: 'update' });
  if (now?.state !== 'ACTIVE') {
    await registry.changeState(tx, {
      unitId: unit.id,
      to: 'ACTIVE',
      actor,
      reason: `activated by grant ${grant.id}`,
      at,
    });
  }
  if ((await registry.cellOf(tx, unit.id)) === null) {
    const cell = await registry.freeCell(tx);
    if (cell !== null) await registry.bindCell(tx, { unitId: unit.id, cellId: cell.id, actor, at });
  }
  await registry.touchContact(tx, unit.id, at);
}

/**
 * Two people approved the grant (rules 3.6): issuance closed the old chain before it opened the new one, and here its
 * certificates end, too. In T2, because a change of status voids whatever is still being signed for the unit.
 */
async function endCertificates(
  deps: ActivationDeps,
  { unit }: Claim,
  { lineage }: LineageView,
  tx: Transaction,
): Promise<void> {
  const at = deps.clock.now();
  // Read again: a renewal may have been recorded between the verdict and the closing, and its certificate ends too.
  const slots = (await deps.lineages.view(tx, lineage.id))?.slots ?? [];
  const certificates = slots
    .filter(({ state, notAfter }) => state !== 'abandoned' && state !== 'signing' && notAfter.getTime() > at.getTime())
    .map(({ issuerId, serial, notAfter }) => ({ issuerId, serial, notAfter, unitId: unit.id }));
  await deps.revocation.setStatus(tx, certificates, {
    state: 'revoked',
    reason: 'superseded',
    actor: actorOf(unit),
    at,
  });
}

/** Soft or strong evidence about a claim: recorded, restricts nobody. */
export async function recordClaim(
  deps: ActivationDeps,
  { unit, credential, csr }: Claim,
  evidence: ClaimEvidence,
  tx?: Transaction,
): Promise<void> {
  const record = (inside: Transaction) =>
    deps.lineages.recordFork(inside, {
      ...evidence,
      at: deps.clock.now(),
      actor: actorOf(unit),
      presentedSlotId: credential.record?.slotId ?? null,
      facts: { address: credential.address, newSpkiSha256: csr.spki.spkiHash.toString('hex') },
    });
  await (tx === undefined ? deps.transactor.run(record) : record(tx));
}

function admissionFrozen(): FemtoError {
  return new FemtoError(
    'ADMISSION_FROZEN',
    'New activations of the fleet or of this model are frozen; lift the freeze first.',
  );
}

function actorOf(unit: Unit): string {
  return `unit:${unit.serialNumber}`;
}

const DISPLACED = 'head-1, other key, head pending';
