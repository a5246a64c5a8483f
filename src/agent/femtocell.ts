import { X509Certificate } from 'node:crypto';
import { FemtoError } from '../platform/errors.js';
import type { Certificate } from '../x509/certificate.js';
import { withRootsFor } from './access-roots.js';
import type { DeviceFiles } from './device-files.js';
import type { Answer, EnrolClient } from './enrol-client.js';
import { makeCsr, newKeyPem, predecessorSignature } from './unit-keys.js';
import {
  exportCredential,
  type Held,
  loadState,
  type Operational,
  type Pending,
  saveState,
  type UnitState,
} from './unit-state.js';
import { momentWithin, stretched } from './waits.js';

/** Between which two of these the power goes must not matter (REN-3). */
export const CUT_POINTS = [
  'key-made', // in memory only
  'key-stored', // on flash; nothing was asked yet
  'request-sent', // the server may have issued
  'answer-received', // the certificate is in memory only
  'certificate-stored', // on flash; the server does not know that
  'confirm-sent', // the server knows; the flash does not know that it does
] as const;
export type CutPoint = (typeof CUT_POINTS)[number];

export interface FemtocellDeps {
  readonly files: DeviceFiles;
  readonly client: EnrolClient;
  /** From the factory; others are believed for its signature. */
  readonly accessRoot: Certificate;
  /** The unit's time: network time where it was had, see {@link UnitClock}. */
  readonly now: () => Date;
  readonly random: (length: number) => Buffer;
  /** A test cuts the power here. */
  readonly atPoint?: (point: CutPoint) => Promise<void>;
}

export interface StepResult {
  readonly did: 'activated' | 'renewed' | 'picked-up' | 'confirmed' | 'advised' | 'waiting' | 'refused' | 'reactivate';
  /** When the next step is worth taking, jitter included. */
  readonly waitSeconds: number;
  /** The server's word, where it refused. */
  readonly code: string | null;
}

export interface StepOptions {
  /** The installer's one-time code: activates where nothing is under way. Empty text: an order stands for it. */
  readonly code?: string;
  /** Renew now, whatever the advised moment. */
  readonly renewNow?: boolean;
}

/**
 * One thing that is due, finished or safely begun. State is on flash before anything depends on it, so this may be killed
 * anywhere and called again: the same key and the same idempotency key go with every try, and the server gives the same
 * certificate.
 *
 * @throws FemtoError RETRY_LATER where the server cannot be had, and what checkServer throws
 */
export async function step(deps: FemtocellDeps, options: StepOptions = {}): Promise<StepResult> {
  const state = loadState(deps.files);
  if (state === null) throw new FemtoError('NOT_FOUND', 'The unit has no identity; provision it at the factory first.');
  // 1. What was begun is finished first, whatever else is due.
  if (state.pending !== null) return ask(deps, state, state.pending, options.code);
  // 2. A stored certificate is confirmed before it is relied on; one that ran out meanwhile is only good for a renewal.
  if (state.current !== null && !state.current.isConfirmed && !hasExpired(deps, state.current))
    return confirm(deps, state, state.current);
  // 3. Activation, where somebody brought a code.
  if (options.code !== undefined) return begin(deps, state, 'bootstrap', options.code);
  if (state.current === null) return { did: 'waiting', waitSeconds: WAIT_SECONDS.activation, code: null };
  // 4. Renewal, at the moment that was drawn; otherwise advice.
  if (options.renewNow === true || deps.now() >= new Date(state.current.renewAt)) return begin(deps, state, 'current');
  return askAdvice(deps, state, state.current);
}

function hasExpired(deps: FemtocellDeps, { certificatePem }: Held): boolean {
  return deps.now() > new Date(new X509Certificate(certificatePem).validTo);
}

async function begin(deps: FemtocellDeps, state: UnitState, over: Pending['over'], code?: string): Promise<StepResult> {
  const pending = { keyPem: newKeyPem(), idempotencyKey: deps.random(16).toString('hex'), over };
  await deps.atPoint?.('key-made');
  const next = { ...state, pending };
  saveState(deps.files, next);
  await deps.atPoint?.('key-stored');
  return ask(deps, next, pending, code);
}

/** A fresh nonce for every try: the server remembers the key, not the bytes. */
async function ask(deps: FemtocellDeps, state: UnitState, pending: Pending, code?: string): Promise<StepResult> {
  const as: Held | null = pending.over === 'bootstrap' ? state.bootstrap : state.current;
  if (as === null) throw new FemtoError('BAD_REQUEST', 'The state file is damaged; provision the unit anew.');
  const nonceAnswer = await deps.client.call('GET', '/v1/nonce', { as });
  if (nonceAnswer.status !== 200) return refusedBy(deps, nonceAnswer);
  const nonce = textOf(nonceAnswer, 'nonce');
  const csr = makeCsr(pending.keyPem, nonce);
  const isActivation = pending.over === 'bootstrap';
  const answer = await deps.client.call('POST', isActivation ? '/v1/activate' : '/v1/renew', {
    as,
    idempotencyKey: pending.idempotencyKey,
    json: {
      csr: csr.toString('base64'),
      ...(isActivation
        ? code === undefined || code === ''
          ? {}
          : { code }
        : { predecessorSignature: predecessorSignature(as.keyPem, nonce, csr) }),
    },
    onSent: async () => deps.atPoint?.('request-sent'),
  });
  if (answer.status !== 200) return giveUpOrWait(deps, state, answer);
  await deps.atPoint?.('answer-received');
  const next = await kept(deps, { ...state, pending: null }, operational(deps, answer, pending.keyPem), as);
  saveState(deps.files, next);
  await deps.atPoint?.('certificate-stored');
  const confirmed = await confirm(deps, next, next.current);
  return confirmed.did === 'confirmed' ? { ...confirmed, did: isActivation ? 'activated' : 'renewed' } : confirmed;
}

async function confirm(deps: FemtocellDeps, state: UnitState, current: Operational): Promise<StepResult> {
  const answer = await deps.client.call('POST', '/v1/confirm', {
    as: current,
    json: {},
    onSent: async () => deps.atPoint?.('confirm-sent'),
  });
  if (answer.status !== 200) return refusedBy(deps, answer);
  const token = answer.body['lineageToken'];
  const next = {
    ...state,
    current: { ...current, isConfirmed: true },
    lineageToken: typeof token === 'string' ? token : state.lineageToken,
  };
  saveState(deps.files, next);
  exportCredential(deps.files, next);
  return { did: 'confirmed', waitSeconds: 1, code: null };
}

async function askAdvice(deps: FemtocellDeps, state: UnitState, current: Operational): Promise<StepResult> {
  const answer = await deps.client.call('GET', '/v1/advice', { as: current });
  if (answer.status !== 200) return refusedBy(deps, answer);
  if (answer.body['pickup'] === true) return pickUp(deps, state, current);
  const renewFrom = textOf(answer, 'renewFrom');
  const renewUntil = textOf(answer, 'renewUntil');
  let { renewAt } = current;
  if (renewFrom !== current.renewFrom || renewUntil !== current.renewUntil) {
    renewAt = momentWithin(renewFrom, renewUntil, deps.random);
    saveState(deps.files, { ...state, current: { ...current, renewFrom, renewUntil, renewAt } });
  }
  const untilRenewal = Math.max(1, Math.ceil((Date.parse(renewAt) - deps.now().getTime()) / 1_000));
  const again = Number(answer.body['retryAfterSeconds']);
  return {
    did: 'advised',
    waitSeconds: Math.min(untilRenewal, Number.isFinite(again) && again > 0 ? again : WAIT_SECONDS.advice),
    code: null,
  };
}

/** The key stays; what proves us the only holder is the token of the last confirmation. */
async function pickUp(deps: FemtocellDeps, state: UnitState, current: Operational): Promise<StepResult> {
  const { lineageToken } = state;
  const answer = await deps.client.call('POST', '/v1/pickup', {
    as: current,
    json: lineageToken === null ? {} : { lineageToken },
  });
  if (answer.status !== 200) return refusedBy(deps, answer);
  const next = await kept(deps, state, operational(deps, answer, current.keyPem), current);
  saveState(deps.files, next);
  const confirmed = await confirm(deps, next, next.current);
  return confirmed.did === 'confirmed' ? { ...confirmed, did: 'picked-up' } : confirmed;
}

/** A certificate that leads to no root of ours is not kept: what was asked for stays pending, and is asked for again. */
async function kept(
  { accessRoot, client, now }: FemtocellDeps,
  state: UnitState,
  current: Operational,
  as: Held,
): Promise<UnitState & { readonly current: Operational }> {
  const given = { accessRoot, state, now: now() };
  const learnt = await withRootsFor(current, given, () => client.call('GET', '/v1/anchors', { as }));
  return { ...learnt, current };
}

function operational(deps: FemtocellDeps, answer: Answer, keyPem: string): Operational {
  const generation = answer.body['generation'];
  const renewFrom = textOf(answer, 'renewFrom');
  const renewUntil = textOf(answer, 'renewUntil');
  if (typeof generation !== 'number') throw badAnswer('generation');
  return {
    keyPem,
    certificatePem: textOf(answer, 'certificate'),
    chainPem: textOf(answer, 'chain'),
    generation,
    renewFrom,
    renewUntil,
    renewAt: momentWithin(renewFrom, renewUntil, deps.random),
    isConfirmed: false,
  };
}

function giveUpOrWait(deps: FemtocellDeps, state: UnitState, answer: Answer): StepResult {
  const refused = refusedBy(deps, answer);
  // Not renewable any more: the old key has nothing to ask for, a new activation begins with a key of its own.
  if (refused.did === 'reactivate') saveState(deps.files, { ...state, pending: null });
  return refused;
}

function refusedBy({ random }: FemtocellDeps, { status, body, retryAfterSeconds }: Answer): StepResult {
  const code = typeof body['code'] === 'string' ? body['code'] : `HTTP ${status}`;
  const isLater = code === 'RETRY_LATER' || status === 503 || status === 429;
  const seconds = retryAfterSeconds ?? (isLater ? WAIT_SECONDS.busy : WAIT_SECONDS.refused);
  return {
    did: isLater ? 'waiting' : code === 'REACTIVATE' ? 'reactivate' : 'refused',
    waitSeconds: stretched(seconds, random),
    code,
  };
}

function textOf({ body }: Answer, name: string): string {
  const text = body[name];
  if (typeof text !== 'string') throw badAnswer(name);
  return text;
}

function badAnswer(name: string): FemtoError {
  return new FemtoError('RETRY_LATER', `The server’s answer has no ${name}; try again later.`);
}

const WAIT_SECONDS = { activation: 3_600, advice: 3_600, busy: 30, refused: 3_600 } as const;
