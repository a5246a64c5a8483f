/** Tells the server of sessions in batches, and answers whether one is alive at this moment. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const EVERY_MS = 500;
const BATCH_MAX = 1_000;
/** While the server is silent; the oldest go first, and the server sees the gap. */
const HELD_MAX = 50_000;
const PROBES_EVERY_MS = 2_000;
const ALIVE_MS_MAX = 10_000;

/** @param {{ api: import('./api.mjs').Api, log: (text: string) => void, signal: AbortSignal }} deps */
export function startSessionReporter({ api, log, signal }) {
  const stream = randomUUID();
  let held = /** @type {{ seq: number, identity: string }[]} */ ([]);
  let seq = 0;

  const run = async () => {
    for (
      let isSilent = false;
      !signal.aborted;
      await sleep(isSilent ? 5_000 : EVERY_MS, undefined, { signal }).catch(() => 0)
    ) {
      isSilent = false;
      while (held.length > 0 && !signal.aborted) {
        const batch = held.slice(0, BATCH_MAX);
        try {
          const { refused } = await api.report(stream, batch);
          for (const { seq: number, detail } of refused.slice(0, 10))
            log(`session event ${number} was refused: ${detail}`);
        } catch (error) {
          log(`session events wait (${held.length}): ${/** @type {Error} */ (error).message}`);
          isSilent = true;
          break;
        }
        const last = batch.at(-1)?.seq ?? 0;
        held = held.filter((event) => event.seq > last);
      }
    }
  };
  void run();
  return {
    /** @param {'up' | 'rekey' | 'down'} kind @param {import('./charon.mjs').Sa} sa */
    tell: (kind, { spis, identity, address }) => {
      seq += 1;
      if (held.length >= HELD_MAX) held = held.slice(1);
      held.push(/** @type {any} */ ({ seq, kind, session: spis, at: new Date().toISOString(), identity, address }));
    },
  };
}

/**
 * A peer is alive where it takes part in an exchange that began after the question was read: a CHILD_SA is rekeyed for it.
 *
 * @param {object} deps
 * @param {import('./api.mjs').Api} deps.api
 * @param {(spis: string) => import('./charon.mjs').Sa | null} deps.bySpis
 * @param {() => import('./charon.mjs').Charon} deps.charon
 * @param {(text: string) => void} deps.log
 * @param {AbortSignal} deps.signal
 */
export function startProbeAnswers({ api, bySpis, charon, log, signal }) {
  /** Who waits for a rekeyed CHILD_SA, by charon's number of the IKE_SA. @type {Map<string, () => void>} */
  const waiting = new Map();
  const busy = new Set();

  const isAlive = async (/** @type {string} */ spis) => {
    const known = bySpis(spis);
    const [sa] = known === null ? [] : await charon().sas(known.id);
    const child = sa?.children[0];
    if (sa === undefined || child === undefined) return false;
    const rekeyed = new Promise((done) => waiting.set(sa.id, () => done(true)));
    await charon().rekeyChild(child);
    const limit = new AbortController();
    const late = sleep(ALIVE_MS_MAX, false, { signal: limit.signal }).catch(() => false);
    const alive = await Promise.race([rekeyed, late]);
    limit.abort();
    waiting.delete(sa.id);
    return alive === true;
  };

  const answer = async (/** @type {{ id: string, session: string, nonce: string }} */ { id, session, nonce }) => {
    const key = `${id} ${session}`;
    if (busy.has(key)) return;
    busy.add(key);
    try {
      const alive = await isAlive(session);
      log(`asked whether session ${session} is alive: ${alive ? 'yes' : 'no'}`);
      await api.answerProbe({ id, session, nonce, alive });
    } finally {
      busy.delete(key);
    }
  };

  const run = async () => {
    for (; !signal.aborted; await sleep(PROBES_EVERY_MS, undefined, { signal }).catch(() => 0)) {
      try {
        for (const question of await api.probes()) answer(question).catch((error) => log(`a probe: ${error.message}`));
      } catch (error) {
        log(`probes: ${/** @type {Error} */ (error).message}`);
      }
    }
  };
  void run();
  return {
    /** @param {import('./charon.mjs').CharonEvent} event */
    take: (event) => {
      if (event.kind === 'child-rekey') waiting.get(event.sa.id)?.();
    },
  };
}
