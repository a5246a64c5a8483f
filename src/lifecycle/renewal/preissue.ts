import { timingSafeEqual } from 'node:crypto';
import { FemtoError } from '../../platform/errors.js';
import { readCertificate } from '../../x509/certificate.js';
import { headOf, type LineageView } from '../lineage/index.js';
import type { CertificateRecord, LineageSlot } from '../model/index.js';
import { checkGood, checkLineage, lineageTokenHash } from './confirm.js';
import { quarantine } from './contain-fork.js';
import { lineageOf, windowOf } from './presented.js';
import type { PickUpRequest, RenewalAnswer } from './renewal.js';
import { checkMayRenew, checkNetwork, checkUnexpired } from './renewal-conditions.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * The next certificate for the same attested key, made ahead of time by the worker. Null where there is nothing to do:
 * the profile says otherwise, the unit sleeps or is restricted, the head is unconfirmed, or a successor exists. Running
 * twice makes one certificate: the slot is unique.
 *
 * @throws FemtoError as {@link Issuance.issue}
 */
export async function preissueNext(deps: RenewalDeps, slotId: number): Promise<CertificateRecord | null> {
  if (!deps.preissueAllowed) return null;
  const tx = deps.transactor.read;
  const window = await deps.store.windowOf(tx, slotId);
  const view = window === null ? null : await deps.lineages.view(tx, window.lineageId);
  const slot = view?.slots.find(({ id }) => id === slotId);
  if (view === null || slot === undefined || view.lineage.state !== 'open') return null;
  // n+2 never before n+1 is confirmed (rules section 4).
  if (slot.state !== 'confirmed' || headOf(view.slots)?.id !== slot.id) return null;
  const unit = await deps.registry.unitById(tx, slot.unitId);
  const profile = unit === null ? null : await deps.registry.profile(tx, unit.profile);
  if (unit?.state !== 'ACTIVE' || profile?.renewalMode !== 'preissue') return null;
  const predecessor = await deps.certificates.record(tx, slot);
  if (predecessor === null) return null;
  return deps.issuance.issue({
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: readCertificate(predecessor.der).spki,
    lifeSeconds: profile.lifeSeconds,
    revocationEpoch: unit.revocationEpoch,
    successor: {
      lineageId: view.lineage.id,
      generation: slot.generation + 1,
      preissued: true,
      displacesSlotId: null,
    },
    actor: 'system:rotation-worker',
    facts: { operation: 'preissue' },
    sameKeyAllowed: true,
    predecessorDer: predecessor.der,
  });
}

/**
 * Hands over a pre-issued successor. With one key for every generation the key cannot tell two holders apart; the lineage
 * token does: it changes at each confirm, and an old one is judged like an old key.
 */
export async function pickUp(deps: RenewalDeps, { credential, lineageToken }: PickUpRequest): Promise<RenewalAnswer> {
  checkMayRenew(credential);
  checkGood(credential);
  const { view, slot } = await lineageOf(deps, credential);
  await checkLineage(deps, credential, view, slot);
  checkUnexpired(deps, credential);
  const successor = waitingSuccessor(view, slot);
  if (successor === null) {
    throw new FemtoError('PREDECESSOR_MISMATCH', 'No pre-issued certificate waits for this one; ask for advice first.');
  }
  await checkToken(deps, { credential, lineageToken }, view, slot, successor);
  await checkNetwork(deps, credential);
  const certificate = await deps.certificates.record(deps.transactor.read, successor);
  if (certificate === null) {
    throw new FemtoError('RETRY_LATER', 'The stored certificate cannot be read; ask again.', { retryAfterSeconds: 2 });
  }
  return { certificate, ...windowOf(successor), repeated: true };
}

function waitingSuccessor({ slots }: LineageView, slot: LineageSlot): LineageSlot | null {
  const next = slots.find(
    ({ generation, preissued, state }) =>
      generation === slot.generation + 1 && preissued && (state === 'pending' || state === 'confirmed'),
  );
  return next ?? null;
}

async function checkToken(
  deps: RenewalDeps,
  { credential, lineageToken }: PickUpRequest,
  { lineage }: LineageView,
  slot: LineageSlot,
  successor: LineageSlot,
): Promise<void> {
  if (lineage.tokenHash === null) return;
  const given = lineageToken !== null && TOKEN_TEXT.test(lineageToken) ? Buffer.from(lineageToken, 'hex') : null;
  if (given === null)
    throw new FemtoError('BAD_REQUEST', 'The pick-up needs the token of the last confirmation, in hex.');
  if (timingSafeEqual(lineageTokenHash(given), lineage.tokenHash)) return;
  // Live by the full handshake that carried it; the competing event is the confirm that changed the token.
  const changedAt = slot.confirmedAt?.getTime() ?? 0;
  if (credential.provedAt.getTime() <= changedAt) {
    throw new FemtoError('RETRY_LATER', 'The key must be proved again; ask over a new connection.', {
      retryAfterSeconds: 1,
    });
  }
  await quarantine(
    deps,
    { credential, unit: credential.unit, newSpkiHash: null, provedAt: credential.provedAt, isFresh: true },
    {
      lineageId: lineage.id,
      row: 'old lineage token',
      presentedSlotId: slot.id,
      successorSlotId: successor.id,
      code: 'FORK_HARD',
    },
  );
  throw new FemtoError('FORK_HARD', 'An old lineage token was presented; both holders are held.', {
    facts: { lineageId: lineage.id },
  });
}

const TOKEN_TEXT = /^[0-9a-f]{64}$/;
