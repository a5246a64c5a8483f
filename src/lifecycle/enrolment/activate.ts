import { createHash } from 'node:crypto';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { keyRequestOf } from '../../x509/csr.js';
import { checkKeyPolicy } from '../../x509/key-policy.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../x509/key-request.js';
import type { Unit } from '../model/index.js';
import { type ActivationDeps, type Claim, idempotencyConflict } from './claim.js';
import { contestClaim, holdDisplaced } from './contest-claim.js';
import type { IssuedAnswer, ProvedCredential } from './credential.js';
import type { ActivationRequest } from './enrolment.js';
import type { Grant } from './grant-store.js';
import { checkLine, issueFirst, recordClaim } from './issue-first.js';
import { askForProof, type ClaimVerdict, judgeClaim } from './judge-claim.js';
import { GRANT_TRIES_MAX, type GrantMatch, grantBad, matchGrant } from './match-grant.js';

/**
 * Bootstrap to operational, design section 5: the whole order of the use-case.
 *
 * @throws FemtoError see {@link Enrolment.activate}
 */
export async function activate(deps: ActivationDeps, request: ActivationRequest): Promise<IssuedAnswer> {
  // 1. Parse, bounded: nothing is looked up for junk.
  const csr = keyRequestOf(request.csr);
  const { credential } = request;
  // 2. The requester: the listener proved its key; here, whether that key still means anything.
  await checkStanding(deps, credential);
  // 3. Counters in PostgreSQL, per proved key: nobody outside can use up a unit's share.
  await countRequest(deps, credential);
  // 4. Registry state, proof of possession, key policy, freshness.
  const claim = await proveClaim(deps, request, csr);
  // 5. to 10. judge, and carry out; judged again where a sibling request was faster.
  for (let round = 0; ; round++) {
    try {
      return await judgeAndAct(deps, claim);
    } catch (thrown) {
      if (round >= ROUNDS_MAX || !(await mayJudgeAgain(deps, claim, thrown))) throw thrown;
      await deps.pause(ROUND_PAUSE_MS);
    }
  }
}

async function judgeAndAct(deps: ActivationDeps, claim: Claim): Promise<IssuedAnswer> {
  // 5. The same request again gets its stored answer and is never evidence (rules 4).
  const stored = await storedAnswer(deps, claim);
  if (stored !== null) return stored;
  // 6. What the unit's lineage and grant make of this claim.
  const { verdict, grant } = await judge(deps, claim);
  await waitForApproval(deps, claim, verdict, grant);
  switch (verdict.kind) {
    case 'same-certificate':
      return answerFromSlot(deps, verdict.slotId, claim);
    case 'refuse':
      if (verdict.evidence !== undefined) await recordClaim(deps, claim, verdict.evidence);
      throw verdict.error;
    case 'contest':
      // 7a. Two holders of everything the first claim proved, its line included: both held, nothing issued.
      await checkLine(deps, claim, requireGrant(grant));
      throw await contestClaim(deps, claim, verdict.view);
    case 'hard':
      throw await holdDisplaced(deps, claim, verdict.view, verdict.presentedSlotId);
    case 'issue':
      // 7. Line, 8. issuance: the grant is spent and the unit becomes ACTIVE in issuance's own transactions.
      return issueFirst(deps, claim, verdict, requireGrant(grant));
  }
}

/** @throws CERT_REVOKED, KEY_BLOCKED; an expired certificate may still prove its key (rules 3.7) */
async function checkStanding(deps: ActivationDeps, credential: ProvedCredential): Promise<void> {
  if (credential.status !== 'good') {
    throw new FemtoError('CERT_REVOKED', 'The certificate that was shown is revoked or held; release the unit first.', {
      facts: { status: credential.status },
    });
  }
  if (await deps.certificates.isBlockedKey(deps.transactor.read, credential.certificate.spki.spkiHash)) {
    throw new FemtoError('KEY_BLOCKED', 'The key that was shown is blocked; replace it at a depot.');
  }
}

async function countRequest(deps: ActivationDeps, credential: ProvedCredential): Promise<void> {
  const at = deps.clock.now();
  const { spkiHash } = credential.certificate.spki;
  const count = await deps.transactor.run((tx) =>
    deps.guard.countRequest(tx, { scope: 'activate', credential: spkiHash, at }),
  );
  if (count > REQUESTS_A_MINUTE) {
    throw new FemtoError('RATE_LIMITED', 'The unit asks too often; wait for Retry-After.', {
      retryAfterSeconds: 60 - at.getUTCSeconds(),
    });
  }
}

async function proveClaim(deps: ActivationDeps, request: ActivationRequest, csr: KeyRequest): Promise<Claim> {
  const { credential, freshness, idempotencyKey } = request;
  const { unit } = credential;
  checkUnitMayActivate(unit);
  checkKeyPolicy(csr.spki);
  checkWishes(csr, { fqdn: unit.fqdn });
  // A nonce of another caller is refused before the signature is looked at: it is the cheaper check.
  const nonce =
    freshness.by === 'nonce' ? deps.nonces.verify(csr.challengePassword, credential.certificate.spki) : null;
  if (!verifyPossession(csr)) {
    throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries; sign it with that key.');
  }
  // A bootstrap key must stay worth nothing at a gateway, so it never becomes the operational one (rules 3.1).
  if (csr.spki.spkiHash.equals(credential.certificate.spki.spkiHash)) {
    throw new FemtoError('KEY_IN_USE', 'The operational key must be a fresh one; generate another key.');
  }
  if (idempotencyKey !== null && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
    throw new FemtoError('BAD_REQUEST', 'The idempotency key must be 16 to 64 characters of A-Z a-z 0-9 _ -.');
  }
  return {
    credential,
    unit,
    csr,
    nonce,
    // The nonce came out under this credential, but its signature is by the new key: only the handshake proves the old.
    liveAt: credential.provedAt,
    idempotencyKey,
    requestHash: createHash('sha256').update('activate').update(csr.spki.spkiHash).digest(),
    code: request.code,
  };
}

async function judge(deps: ActivationDeps, claim: Claim): Promise<{ verdict: ClaimVerdict; grant: GrantMatch }> {
  const tx = deps.transactor.read;
  const { unit, credential, csr } = claim;
  const now = deps.clock.now();
  const live = await deps.lineages.liveViewOfUnit(tx, unit.id);
  const grant = matchGrant(await deps.grants.latest(tx, unit.id), claim.code, now);
  const verdict = judgeClaim({
    now,
    credential: {
      kind: credential.kind === 'operational' ? 'operational' : 'generation-0',
      slotId: credential.record?.slotId ?? null,
    },
    newSpkiHash: csr.spki.spkiHash,
    liveAt: claim.liveAt,
    live,
    grant,
  });
  // A key that may claim nothing tries no code either: its holder could lock the unit out (rules 3.3).
  const isTry = verdict.kind === 'refuse' && verdict.error.code === 'GRANT_BAD';
  if (isTry && grant.kind === 'wrong-code') {
    // Nor does a recording: a message made for an earlier grant would use up the tries of this one.
    if (claim.liveAt.getTime() <= grant.grant.createdAt.getTime()) throw askForProof();
    await countWrongCode(deps, claim, grant.grant);
  }
  return { verdict, grant };
}

/**
 * A box that lost its keys asks again and again while two people decide on its new grant: it waits, and neither loses a try
 * nor looks like a second claimant meanwhile.
 *
 * @throws FemtoError APPROVAL_REQUIRED
 */
async function waitForApproval(
  deps: ActivationDeps,
  { unit }: Claim,
  verdict: ClaimVerdict,
  grant: GrantMatch,
): Promise<void> {
  const lacksGrant = verdict.kind === 'contest' || (verdict.kind === 'refuse' && verdict.error.code === 'GRANT_BAD');
  if (!lacksGrant || grant.kind === 'open' || grant.kind === 'wrong-code') return;
  const now = deps.clock.now();
  if (!(await deps.grants.isAwaitingApproval(deps.transactor.read, unit.serialNumber, now))) return;
  throw new FemtoError('APPROVAL_REQUIRED', 'The unit’s new grant waits for a second person; ask again later.', {
    retryAfterSeconds: APPROVAL_RETRY_SECONDS,
  });
}

/** Commits by itself: a refused request must leave its mark. */
async function countWrongCode(deps: ActivationDeps, { unit, credential }: Claim, grant: Grant): Promise<void> {
  await deps.transactor.run(async (tx) => {
    const after = await deps.grants.countTry(tx, grant.id, GRANT_TRIES_MAX);
    if (grant.state !== 'open' || after.state !== 'locked' || after.tries !== GRANT_TRIES_MAX) return;
    const body = { grantId: grant.id, tries: after.tries, address: credential.address };
    await deps.ledger.append(tx, [
      { kind: 'grant.locked', subject: `unit:${unit.serialNumber}`, at: deps.clock.now(), body },
    ]);
  });
}

function requireGrant(match: GrantMatch): Grant {
  if (match.kind === 'open' || match.kind === 'spent') return match.grant;
  throw grantBad(match.kind === 'none' ? match.fault : 'the code is wrong');
}

/** The certificate of this very request, under its idempotency key; null when there is none yet. */
async function storedAnswer(deps: ActivationDeps, claim: Claim): Promise<IssuedAnswer | null> {
  if (claim.idempotencyKey === null) return null;
  const tx = deps.transactor.read;
  const known = await deps.guard.requestUnderKey(tx, {
    credential: claim.credential.certificate.spki.spkiHash,
    operation: 'activate',
    key: claim.idempotencyKey,
  });
  if (known === null) return null;
  if (!known.equals(claim.requestHash)) throw idempotencyConflict();
  const slot = await deps.lineages.slotByKey(tx, claim.csr.spki.spkiHash);
  const isOurs = slot?.unitId === claim.unit.id && (slot.state === 'pending' || slot.state === 'confirmed');
  // An abandoned attempt under the key: the request goes on as if it were the first.
  return isOurs ? answerFromSlot(deps, slot.id, claim) : null;
}

async function answerFromSlot(deps: ActivationDeps, slotId: number, { csr }: Claim): Promise<IssuedAnswer> {
  const tx = deps.transactor.read;
  const slot = await deps.lineages.slotByKey(tx, csr.spki.spkiHash);
  const certificate = slot?.id === slotId ? await deps.certificates.record(tx, slot) : null;
  if (slot === null || certificate === null) {
    throw new FemtoError('RETRY_LATER', 'The stored certificate cannot be read; ask again.', { retryAfterSeconds: 2 });
  }
  const { generation, renewFrom, renewUntil } = slot;
  return { certificate, generation, renewFrom, renewUntil, repeated: true };
}

/** A sibling request with the same key was faster at slot, key, nonce or grant: its result is this request's, too. */
async function mayJudgeAgain(deps: ActivationDeps, { csr, unit }: Claim, thrown: unknown): Promise<boolean> {
  if (!RACE_CODES.has(asFemtoError(thrown).code)) return false;
  const slot = await deps.lineages.slotByKey(deps.transactor.read, csr.spki.spkiHash);
  return slot?.unitId === unit.id && slot.state !== 'displaced' && slot.state !== 'abandoned';
}

function checkUnitMayActivate(unit: Unit): void {
  const code = CODE_BY_STATE[unit.state];
  if (code === undefined) return;
  throw new FemtoError(code, `The unit is ${unit.state}; it must leave that state before it may activate.`, {
    facts: { state: unit.state },
  });
}

const CODE_BY_STATE: Readonly<Partial<Record<Unit['state'], FemtoError['code']>>> = {
  MANIFESTED: 'UNREGISTERED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};
const APPROVAL_RETRY_SECONDS = 60;
const RACE_CODES: ReadonlySet<string> = new Set(['STATE_CONFLICT', 'KEY_IN_USE', 'NONCE_BAD', 'RETRY_LATER']);
/** Together 3 s: a little more than a slow token takes, and less than any client waits. */
const ROUNDS_MAX = 40;
const ROUND_PAUSE_MS = 75;
const REQUESTS_A_MINUTE = 60;
const IDEMPOTENCY_KEY = /^[A-Za-z0-9_-]{16,64}$/;
