import { headOf } from '../lineage/index.js';
import { checkGood, checkLineage } from './confirm.js';
import { lineageOf } from './presented.js';
import type { Advice, ProvedCredential } from './renewal.js';
import { checkMayRenew, checkUnexpired } from './renewal-conditions.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * When to renew, and when to ask again. The window may have been moved since the certificate was issued: earlier for a
 * mass re-key, later under load. It changes nothing, so a copied unit learns nothing and confirms nothing by asking.
 */
export async function advise(
  deps: RenewalDeps,
  { credential }: { readonly credential: ProvedCredential },
): Promise<Advice> {
  checkMayRenew(credential);
  checkGood(credential);
  const { view, slot } = await lineageOf(deps, credential);
  await checkLineage(deps, credential, view, slot);
  checkUnexpired(deps, credential);
  const head = headOf(view.slots);
  const isHead = head === null || head.generation <= slot.generation;
  const successor = view.slots.find(
    ({ generation, state, preissued }) => generation === slot.generation + 1 && state === 'pending' && preissued,
  );
  return {
    renewFrom: slot.renewFrom,
    renewUntil: slot.renewUntil,
    generation: slot.generation,
    state:
      isHead && slot.state === 'pending' ? 'pending' : isHead || head.state === 'pending' ? 'confirmed' : 'superseded',
    pickup: successor !== undefined,
    retryAfterSeconds: askAgainIn(slot.renewFrom.getTime() - deps.clock.now().getTime(), credential.unit.id),
  };
}

/**
 * Often enough that a moved window is seen within hours, seldom enough that 300,000 units ask 14 times a second; spread
 * by unit, so that an outage's end does not gather them.
 */
export function askAgainIn(untilWindowMs: number, unitId: number): number {
  const seconds = Math.floor(untilWindowMs / 1_000);
  const spread = unitId % ASK_SPREAD_SECONDS;
  return Math.min(Math.max(seconds, ASK_SECONDS_MIN), ASK_SECONDS_MAX) + spread;
}

const ASK_SECONDS_MIN = 60;
const ASK_SECONDS_MAX = 6 * 3_600;
const ASK_SPREAD_SECONDS = 60;
