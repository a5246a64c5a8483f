import { createHash, verify } from 'node:crypto';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { keyRequestOf } from '../../x509/csr.js';
import { checkKeyPolicy } from '../../x509/key-policy.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../x509/key-request.js';
import { importPublicKey } from '../../x509/spki.js';
import { judgeRenewal, type LineageView, mayComeAgain, type SlotView } from '../lineage/index.js';
import type { Unit } from '../model/index.js';
import type { Profile } from '../registry/index.js';
import { containFork, contestReplacedHead, recordEvidence } from './contain-fork.js';
import { type Judged, lineageOf, type Presented, windowOf } from './presented.js';
import type { RenewalAnswer, RenewalRequest } from './renewal.js';
import { checkMayRenew, checkNetwork, lineEvidence } from './renewal-conditions.js';
import type { KnownNonce, RenewalDeps } from './renewal-deps.js';

/**
 * An operational certificate is followed by the next: design section 5, in order.
 *
 * @throws FemtoError see {@link Renewal.renew}
 */
export async function renew(deps: RenewalDeps, request: RenewalRequest): Promise<RenewalAnswer> {
  // 1. Parse, bounded: nothing is looked up for junk.
  const csr = keyRequestOf(request.csr);
  // 2. The requester: an operational key, proved by the listener; state of its unit.
  checkMayRenew(request.credential);
  // 3. Key policy, names, proof of both keys.
  const nonce = proveKeys(deps, request, csr);
  // Freshness: counters and nonce in PostgreSQL. 4. Predecessor and lineage, from the certificate's own slot: a name in the
  // request means nothing.
  const [presented, seen, profile] = await Promise.all([
    admit(deps, request, csr, nonce),
    lineageOf(deps, request.credential),
    profileOf(deps, request.credential.unit),
  ]);
  // 5. to 8. the fork table, and what it says; looked at and judged again where a sibling request was faster.
  for (let round = 0; ; round++) {
    try {
      return await judgeAndAct(deps, {
        presented,
        profile,
        ...(round === 0 ? seen : await lineageOf(deps, presented.credential)),
      });
    } catch (thrown) {
      if (round >= ROUNDS_MAX || !(await mayJudgeAgain(deps, presented, thrown, round))) throw thrown;
      await deps.pause(ROUND_PAUSE_MS);
    }
  }
}

/** @returns the nonce that both keys signed; null where a handshake speaks for the old one */
function proveKeys(deps: RenewalDeps, request: RenewalRequest, csr: KeyRequest): KnownNonce | null {
  const { credential, freshness, idempotencyKey } = request;
  const { unit } = credential;
  const old = credential.certificate.spki;
  checkKeyPolicy(csr.spki);
  checkWishes(csr, { fqdn: unit.fqdn });
  const nonce = freshness.by === 'nonce' ? deps.nonces.verify(csr.challengePassword, old) : null;
  if (nonce !== null) checkPredecessorSignature(request, csr);
  if (!verifyPossession(csr)) {
    throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries; sign it with that key.');
  }
  if (idempotencyKey !== null && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
    throw new FemtoError('BAD_REQUEST', 'The idempotency key must be 16 to 64 characters of A-Z a-z 0-9 _ -.');
  }
  return nonce;
}

async function admit(
  deps: RenewalDeps,
  { credential, idempotencyKey }: RenewalRequest,
  csr: KeyRequest,
  nonce: KnownNonce | null,
): Promise<RenewalTry> {
  const at = deps.clock.now();
  const admission = await deps.store.admit(deps.transactor.read, {
    credential: credential.certificate.spki.spkiHash,
    operation: 'renew',
    idempotencyKey,
    requestHash: createHash('sha256').update('renew').update(csr.spki.spkiHash).digest(),
    nonce,
    at,
  });
  if (admission.requests > REQUESTS_A_MINUTE) {
    throw new FemtoError('RATE_LIMITED', 'The unit asks too often; wait for Retry-After.', {
      retryAfterSeconds: 60 - at.getUTCSeconds(),
    });
  }
  if (admission.key === 'other') {
    throw new FemtoError(
      'IDEMPOTENCY_CONFLICT',
      'This idempotency key was used for another request; take a new key for a new request.',
      { facts: { status: 409 } },
    );
  }
  const signedAt = nonce !== null && admission.nonceFresh ? nonce.issuedAt : credential.provedAt;
  return {
    credential,
    unit: credential.unit,
    csr,
    newSpkiHash: csr.spki.spkiHash,
    provedAt: signedAt.getTime() > credential.provedAt.getTime() ? signedAt : credential.provedAt,
    isFresh: admission.nonceFresh,
    isRepeat: admission.key === 'same',
  };
}

/** REN-2: the old key signs our nonce together with the very request, so neither can be carried to another one. */
function checkPredecessorSignature({ credential, predecessorSignature }: RenewalRequest, csr: KeyRequest): void {
  if (predecessorSignature === null || predecessorSignature.length > SIGNATURE_BYTES_MAX) {
    throw new FemtoError(
      'BAD_REQUEST',
      'The request needs predecessorSignature: DER ECDSA by the key of its certificate.',
    );
  }
  const text = predecessorText(csr.challengePassword ?? '', csr.der);
  if (verify('sha256', text, importPublicKey(credential.certificate.spki), predecessorSignature)) return;
  throw new FemtoError(
    'POP_FAIL',
    'The predecessor signature does not verify; sign the nonce and request with the old key.',
  );
}

/** What the old key signs: SHA-256 ECDSA over this text. */
export function predecessorText(nonce: string, csrDer: Buffer): Buffer {
  const csrSha256 = createHash('sha256').update(csrDer).digest('hex');
  return Buffer.from(`femtopki-renew-v1\n${nonce}\n${csrSha256}\n`, 'latin1');
}

type RenewalTry = Presented & {
  readonly csr: KeyRequest;
  /** The same request is known under its idempotency key: a sibling may be at work on it right now. */
  readonly isRepeat: boolean;
};

async function judgeAndAct(
  deps: RenewalDeps,
  { presented, profile, view, slot }: SlotView & { readonly presented: RenewalTry; readonly profile: Profile },
): Promise<RenewalAnswer> {
  await contestReplacedHead(deps, presented, view, slot);
  // 5. The verdict, pure.
  const verdict = judgeRenewal({
    now: deps.clock.now(),
    lineageState: view.lineage.state,
    lastSoftAt: view.lineage.lastSoftAt,
    slots: view.slots,
    presented: { kind: 'slot', slotId: slot.id },
    presentedStatus: presented.credential.status,
    newSpkiHash: presented.csr.spki.spkiHash,
    provedAt: presented.provedAt,
    line: await lineEvidence(deps, presented.credential),
    comebackDays: profile.comebackDays,
  });
  if (!presented.isFresh && verdict.kind !== 'same-certificate' && verdict.kind !== 'retry-later') {
    throw new FemtoError('NONCE_BAD', 'The nonce was used before; ask for a new one with the same credential.');
  }
  // 6. Carry it out.
  switch (verdict.kind) {
    case 'same-certificate':
      await checkNetwork(deps, presented.credential);
      return storedAnswer(deps, view, verdict.slotId);
    case 'issue':
    case 'reissue-same-key':
    case 'soft-displace':
      await checkNetwork(deps, presented.credential);
      return issueNext(deps, { presented, view, slot, profile, verdict });
    case 'hard':
      throw await containFork(deps, { presented, view, slot, verdict });
    case 'refuse':
      throw await refuse(deps, { presented, view, slot, verdict });
    case 'retry-later':
      if (verdict.grade !== null) await recordEvidence(deps, { presented, view, slot, verdict, grade: verdict.grade });
      throw new FemtoError('RETRY_LATER', 'Another request of this unit is under way or was just served; ask again.', {
        retryAfterSeconds: verdict.retryAfterSeconds,
        facts: { row: verdict.row },
      });
  }
}

async function issueNext(
  deps: RenewalDeps,
  judged: Judged<'issue' | 'reissue-same-key' | 'soft-displace'> & { presented: RenewalTry; profile: Profile },
): Promise<RenewalAnswer> {
  const { presented, view, verdict, profile } = judged;
  const { unit, csr, credential } = presented;
  const actor = `unit:${unit.serialNumber}`;
  // 7. Intent, token, record: issuance. The slot and the key are claimed there by unique index.
  const certificate = await deps.issuance.issue({
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: csr.spki,
    lifeSeconds: profile.lifeSeconds,
    revocationEpoch: unit.revocationEpoch,
    successor: {
      lineageId: view.lineage.id,
      generation: verdict.generation,
      preissued: false,
      displacesSlotId: verdict.kind === 'issue' ? null : verdict.displacesSlotId,
    },
    actor,
    facts: { operation: 'renew', row: verdict.row, address: credential.address },
    sameKeyAllowed: verdict.kind === 'reissue-same-key' || mayComeAgain(view.slots, csr.spki.spkiHash),
    // In the intent's own transaction, so that no displacement is ever without its entry.
    ...(verdict.kind === 'soft-displace'
      ? { withIntent: (tx) => recordEvidence(deps, { ...judged, verdict, grade: verdict.grade }, tx) }
      : {}),
    ...(unit.state === 'DORMANT'
      ? {
          withIssued: async (tx, { issuedAt }) => {
            const reason = 'renewed inside the automatic tier';
            await deps.registry.changeState(tx, { unitId: unit.id, to: 'ACTIVE', actor, reason, at: issuedAt });
          },
        }
      : {}),
  });
  // 8. The answer.
  const { renewFrom, renewUntil } = certificate;
  return { certificate, generation: verdict.generation, renewFrom, renewUntil, repeated: false };
}

async function refuse(deps: RenewalDeps, judged: Judged<'refuse'>): Promise<FemtoError> {
  const { verdict } = judged;
  if (verdict.grade !== null) await recordEvidence(deps, { ...judged, grade: verdict.grade });
  const facts = { row: verdict.row };
  if (verdict.asksLiveProof) {
    // Possession shown before the competing event proves nothing; a new nonce under the old key would (rules section 4).
    return new FemtoError(
      'RETRY_LATER',
      'The old key must be proved again; ask for a new nonce and send the request anew.',
      {
        retryAfterSeconds: 1,
        facts: { ...facts, asks: 'live proof' },
      },
    );
  }
  return new FemtoError(verdict.code, `This renewal is refused (${verdict.row}); look at the unit’s lineage.`, {
    facts,
  });
}

async function storedAnswer(deps: RenewalDeps, view: LineageView, slotId: number): Promise<RenewalAnswer> {
  const slot = view.slots.find(({ id }) => id === slotId);
  const certificate = slot === undefined ? null : await deps.certificates.record(deps.transactor.read, slot);
  if (slot === undefined || certificate === null) {
    throw new FemtoError('RETRY_LATER', 'The stored certificate cannot be read; ask again.', { retryAfterSeconds: 2 });
  }
  return { certificate, ...windowOf(slot), repeated: true };
}

async function profileOf(deps: RenewalDeps, unit: Unit): Promise<Profile> {
  const profile = await deps.registry.profile(deps.transactor.read, unit.profile);
  if (profile === null) throw new FemtoError('INTERNAL', 'The unit’s profile is gone; set another one.');
  return profile;
}

/**
 * A sibling was faster at slot or key. With the same key its result is ours, too, however long the token takes; with
 * another key the table must speak once more about the slot that now stands.
 */
async function mayJudgeAgain(
  deps: RenewalDeps,
  presented: RenewalTry,
  thrown: unknown,
  round: number,
): Promise<boolean> {
  const { code } = asFemtoError(thrown);
  // A byte-identical sibling has spent the nonce and not claimed its slot yet: its answer will be this one's (F6).
  if (code === 'NONCE_BAD') return presented.isRepeat && round < SIBLING_ROUNDS_MAX;
  if (code !== 'STATE_CONFLICT' && code !== 'KEY_IN_USE' && code !== 'RETRY_LATER') return false;
  const slot = await deps.lineages.slotByKey(deps.transactor.read, presented.csr.spki.spkiHash);
  // Only what follows the presented certificate is a sibling's work; its own key, or an older one, stays refused.
  const follows = slot !== null && slot.generation > (presented.credential.record?.generation ?? 0);
  if (follows && slot.unitId === presented.unit.id && slot.state !== 'displaced' && slot.state !== 'abandoned') {
    return true;
  }
  return code === 'STATE_CONFLICT' && round < REJUDGED_MAX;
}

/** Together 3 s: a little more than a slow token takes, and less than any client waits. */
const ROUNDS_MAX = 40;
const ROUND_PAUSE_MS = 75;
const REJUDGED_MAX = 2;
const SIBLING_ROUNDS_MAX = 15;
const REQUESTS_A_MINUTE = 60;
const SIGNATURE_BYTES_MAX = 160;
const IDEMPOTENCY_KEY = /^[A-Za-z0-9_-]{16,64}$/;
