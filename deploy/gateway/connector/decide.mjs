/** Whose word counts about a unit: the server's, or the snapshot's while nobody is there at all. */
import { Silence } from './api.mjs';
import { isBefore } from './position.mjs';

/** A call that takes so long makes us ask whether anybody is there at all, so that both are answered within a second. */
const DOUBT_MS = 200;

/**
 * @param {object} deps
 * @param {import('./config.mjs').Config} deps.config
 * @param {import('./api.mjs').Api} deps.api
 * @param {import('./snapshot-keeper.mjs').SnapshotKeeper | null} deps.snapshots
 * @param {() => import('./position.mjs').Position} deps.heard
 */
export function makeDecide({ config, api, snapshots, heard }) {
  /**
   * The server's word; the snapshot's only where this call and another one, which no unit has a hand in, got no answer.
   *
   * @param {import('./charon.mjs').Sa} sa @param {Buffer} certificateDer @param {boolean} keyProved
   * @returns {Promise<{ verdict: 'permit' | 'restricted' | 'deny', reasons: string[], ttlSeconds: number, isBySnapshot: boolean }>}
   */
  return async ({ identity, address }, certificateDer, keyProved) => {
    const { authoriseTimeoutMs: timeoutMs } = config;
    /** @type {Promise<boolean> | undefined} */
    let dark;
    const doubt = setTimeout(() => {
      dark = api.isDark(timeoutMs);
    }, DOUBT_MS);
    try {
      const decision = await api.authorise({ stage: 'ike', certificateDer, identity, address, keyProved, timeoutMs });
      if (isBefore(decision.position, heard())) throw new Error('the answer is older than what the feed told');
      return { ...decision, isBySnapshot: false };
    } catch (error) {
      clearTimeout(doubt);
      if (snapshots === null || !(error instanceof Silence)) throw error;
      if (!(await (dark ?? api.isDark(timeoutMs)))) throw error;
      return { ...snapshots.decide({ certificateDer, identity, address }), isBySnapshot: true };
    } finally {
      clearTimeout(doubt);
    }
  };
}
