import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { failpoint } from '../../platform/failpoint.js';
import type { Signer } from '../../platform/signer.js';
import { serialHex } from '../../x509/serial.js';
import type { IssuerDirectory } from '../registry/index.js';
import { type AbandonDeps, abandonAttempts } from './abandon-attempts.js';
import { chooseIssuer, ISSUER_KIND } from './choose-issuer.js';
import { type Draft, type DraftDeps, makeDrafter } from './draft-certificate.js';
import type { ApprovedRequest, IssuanceOutcome } from './issuance.js';
import { type GateDeps, type IssuingGate, makeIssuingGate } from './issuing-gate.js';
import { type RecordDeps, recordCertificates, type SignedDraft } from './record-certificates.js';
import { type IntentOutcome, recordIntents } from './record-intents.js';
import { makeSignDrafts, type SignedOutcome } from './sign-drafts.js';

export interface IssueBatchDeps extends DraftDeps, GateDeps, RecordDeps, AbandonDeps {
  readonly signer: Signer;
  readonly issuers: Pick<IssuerDirectory, 'byKind'>;
  /** Something a person must hear of now (ERROR in the log); `facts` carry no secret. */
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

/**
 * One flush: an approved request becomes a recorded, signed certificate (design section 5, steps 5 to 10).
 *
 * Never throws for a row; outcomes come in the order of the requests.
 */
export type IssueBatch = (requests: readonly ApprovedRequest[]) => Promise<IssuanceOutcome[]>;

export function makeIssueBatch(deps: IssueBatchDeps): { issueBatch: IssueBatch; gate: IssuingGate } {
  const gate = makeIssuingGate(deps);
  const draft = makeDrafter(deps);
  const signDrafts = makeSignDrafts(deps.signer);

  const issueBatch: IssueBatch = async (requests) => {
    const outcomes = new Map<ApprovedRequest, IssuanceOutcome>();
    const refuse = (request: ApprovedRequest, error: FemtoError): void => {
      outcomes.set(request, { ok: false, error });
    };
    try {
      // 1. May this process issue: clock, ledger backlog, stop switch, a token that just failed.
      await gate.check();

      // 2. Build the TBS from the template of issuer and profile, and lint it by reading it again.
      const drafts = await draftAll(deps, draft, requests, refuse);

      // 3. T1: claim key and successor slot, record the intent. After this commit the serial is accounted for.
      const at = deps.clock.now();
      const intents = await intendAll(deps, drafts, at);
      const intended = drafts.filter((one) => take(one, intents.get(one.attemptId), refuse));
      await failpoint('after-intent');

      // 4. Sign in the token, outside any transaction, and check each signature over the linted bytes.
      const signed = intended.length === 0 ? [] : await signDrafts(intended);
      await failpoint('after-sign');
      const good: SignedDraft[] = [];
      const lost: Draft[] = [];
      for (const [index, one] of intended.entries()) {
        const result = signed[index];
        if (result?.ok) {
          const intent = intents.get(one.attemptId);
          good.push({ draft: one, slotId: intent?.ok ? intent.slotId : null, der: result.der });
          continue;
        }
        lost.push(one);
        refuse(one.request, result?.error ?? new FemtoError('HSM_UNAVAILABLE', 'The signer gave no answer.'));
        if (result?.broken) await stopIssuing(deps, one);
      }
      noteToken(gate, signed);

      // 5. T2: record certificate, slot and ledger entry where attempt and epoch are unchanged.
      const recorded =
        good.length === 0 ? new Map<string, IssuanceOutcome>() : await recordCertificates(deps, good, at);
      for (const { draft: one } of good) {
        const outcome = recorded.get(one.attemptId);
        if (outcome !== undefined) outcomes.set(one.request, outcome);
        if (outcome?.ok !== true) lost.push(one);
      }

      // 6. What was intended and not recorded is revoked at once, so the unit may ask again; the reconciler is the net.
      await giveUp(deps, lost, at);
      await failpoint('after-issue');
    } catch (thrown) {
      const error = refusalOf(thrown);
      for (const request of requests) if (!outcomes.has(request)) refuse(request, error);
    }
    // 7. Answer.
    return requests.map((request) => outcomes.get(request) ?? { ok: false, error: asFemtoError('no outcome') });
  };
  return { issueBatch, gate };
}

async function draftAll(
  deps: IssueBatchDeps,
  draft: ReturnType<typeof makeDrafter>,
  requests: readonly ApprovedRequest[],
  refuse: (request: ApprovedRequest, error: FemtoError) => void,
): Promise<Draft[]> {
  const drafts: Draft[] = [];
  for (const request of requests) {
    try {
      const active = await deps.issuers.byKind(ISSUER_KIND[request.purpose]);
      drafts.push(draft(request, chooseIssuer(active, request.unitId ?? request.machineId ?? 0)));
    } catch (thrown) {
      const error = asFemtoError(thrown);
      if (error.code === 'LIFETIME_EXCEEDS_CEILING') alarmCeiling(deps, request, error);
      refuse(request, error);
    }
  }
  return drafts;
}

/** KEY-4: a ceiling can only be met by a wrong or tampered profile row, so somebody must look at it. */
function alarmCeiling(deps: IssueBatchDeps, request: ApprovedRequest, error: FemtoError): void {
  const { purpose, lifeSeconds, unitId, machineId } = request;
  deps.alarm('life above the ceiling', { purpose, lifeSeconds, unitId, machineId, ...error.facts });
}

/** T1, and where some row's contents are refused by the database, a T1 for each. */
async function intendAll(
  deps: IssueBatchDeps,
  drafts: readonly Draft[],
  at: Date,
): Promise<Map<string, IntentOutcome>> {
  if (drafts.length === 0) return new Map();
  try {
    return await deps.transactor.run((tx) => recordIntents(deps, tx, drafts, at));
  } catch (thrown) {
    if (deps.store.faultOf(thrown) !== 'row') throw thrown;
    if (drafts.length === 1)
      return new Map(drafts.map(({ attemptId }) => [attemptId, { ok: false, error: asFemtoError(thrown) }]));
  }
  const outcomes = new Map<string, IntentOutcome>();
  for (const draft of drafts) for (const [id, outcome] of await intendAll(deps, [draft], at)) outcomes.set(id, outcome);
  return outcomes;
}

function take(
  draft: Draft,
  outcome: IntentOutcome | undefined,
  refuse: (request: ApprovedRequest, error: FemtoError) => void,
): boolean {
  if (outcome?.ok) return true;
  refuse(draft.request, outcome?.error ?? asFemtoError('no intent'));
  return false;
}

/** Fault F12: a token that signs wrongly signs nothing more, in any process, until a person has looked at it. */
async function stopIssuing(deps: IssueBatchDeps, { issuer, serial }: Draft): Promise<void> {
  const facts = { issuer: issuer.label, serial: serialHex(serial) };
  deps.alarm('the token gave a wrong signature', facts);
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    await deps.store.stopIssuing(tx, `${issuer.label}: the token gave a wrong signature`);
    await deps.ledger.append(tx, [{ kind: 'issuing.stopped', subject: `issuer:${issuer.label}`, at, body: facts }]);
  });
}

/** Only silence counts: a row that the signer refuses says nothing about the token. */
function noteToken(gate: IssuingGate, signed: readonly SignedOutcome[]): void {
  if (signed.length === 0) return;
  const isSilent = signed.every((outcome) => !outcome.ok && outcome.error.code === 'HSM_UNAVAILABLE');
  if (isSilent) gate.tokenFailed();
  else gate.tokenAnswered();
}

async function giveUp(deps: IssueBatchDeps, lost: readonly Draft[], createdAt: Date): Promise<void> {
  try {
    await abandonAttempts(
      deps,
      lost.map((draft) => staleAttempt(draft, createdAt)),
      'not signed or not recorded',
    );
  } catch (thrown) {
    // The intents stand, so the reconciler finds them within its minute.
    deps.alarm('attempts left to the reconciler', { count: lost.length, error: asFemtoError(thrown).code });
  }
}

function staleAttempt({ attemptId, issuer, serial, request, notAfter }: Draft, createdAt: Date) {
  const { purpose, unitId, machineId } = request;
  return { attemptId, createdAt, issuerId: issuer.id, serial, purpose, unitId, machineId, notAfter, slotId: null };
}

function refusalOf(thrown: unknown): FemtoError {
  if (thrown instanceof FemtoError) return thrown;
  return new FemtoError('RETRY_LATER', 'The certificate could not be made just now; ask again shortly.', {
    cause: thrown,
    retryAfterSeconds: 5,
  });
}
