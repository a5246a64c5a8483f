/**
 * Who is in. Of every IKE_SA that charon establishes the server is asked; only a permit opens the data plane, for its TTL;
 * everything else ends the IKE_SA. Whatever goes wrong here, the nft set forgets by itself.
 *
 * @typedef {import('./charon.mjs').Sa} Sa
 * @typedef {object} Session
 * @property {Sa} sa  as last seen
 * @property {string[]} formerSpis
 * @property {Buffer | null} certificate
 * @property {import('./permits.mjs').Right | null} right
 * @property {number} permitEndsMs  monotonic; 0 = none
 * @property {Set<string>} opened  inner addresses in an nft set by this session
 * @property {boolean} isBySnapshot  what it has, it has from the snapshot
 * @property {NodeJS.Timeout | undefined} timer
 * @property {boolean} isOver
 */
import { makeDecide } from './decide.mjs';
import { makeGate } from './gate.mjs';

const ASK_AGAIN_MS = 1_000;
const ASKED_AT_ONCE_MAX = 32;
const FORMER_SPIS_MAX = 8;
/** No new IKE_SA for so long: charon's cache may be emptied, so that a renewed certificate stands in it alone. */
const QUIET_MS = 2_000;

/** @typedef {ReturnType<typeof makeAdmission>} Admission */

/**
 * @param {object} deps
 * @param {import('./config.mjs').Config} deps.config
 * @param {import('./api.mjs').Api} deps.api
 * @param {import('./snapshot-keeper.mjs').SnapshotKeeper | null} deps.snapshots  null: without the server nobody comes in
 * @param {import('./permits.mjs').Permits} deps.permits
 * @param {import('./session-files.mjs').StateDir} deps.state
 * @param {() => import('./charon.mjs').Charon} deps.charon
 * @param {() => { epoch: number, seq: number }} deps.heard  how far the feed was heard
 * @param {(kind: 'up' | 'rekey' | 'down', sa: Sa) => void} deps.tell
 * @param {(text: string) => void} deps.log
 */
export function makeAdmission({ config, api, snapshots, permits, state, charon, heard, tell, log }) {
  /** @type {Map<string, Session>} by charon's number */
  const sessions = new Map();
  /** Inner address → the session that opened it. @type {Map<string, Session>} */
  const owners = new Map();
  const gate = makeGate(ASKED_AT_ONCE_MAX);
  const decide = makeDecide({ config, api, snapshots, heard });
  /** @type {NodeJS.Timeout | undefined} */
  let quiet;
  /** Work that was under way at the end sets no clock any more. */
  let isClosed = false;

  const isWatched = (/** @type {Sa} */ { connection }) =>
    config.connections.length === 0 || config.connections.includes(connection);

  const begin = (/** @type {Sa} */ sa) => {
    const session = /** @type {Session} */ ({
      sa,
      formerSpis: [],
      certificate: null,
      right: null,
      permitEndsMs: 0,
      isBySnapshot: false,
      opened: new Set(),
      timer: undefined,
      isOver: false,
    });
    sessions.set(sa.id, session);
    tell('up', sa);
    return session;
  };

  /** Closes the data plane at once, then tells charon. @param {Session} session @param {string} why */
  const cut = async (session, why) => {
    if (session.isOver) return;
    log(`${session.sa.identity} from ${session.sa.address}: cut: ${why}`);
    const closing = shut(session);
    // Charon may have ended it by itself meanwhile; then there is nothing left to do.
    const ending = (async () => charon().terminate(session.sa.id))();
    await Promise.allSettled([closing, ending]).then((done) => {
      for (const one of done)
        if (one.status === 'rejected') log(`cutting ${session.sa.identity}: ${one.reason.message}`);
    });
  };

  /** @param {Session} session */
  const shut = async (session) => {
    session.isOver = true;
    session.right = null;
    clearTimeout(session.timer);
    sessions.delete(session.sa.id);
    state.forget(session.sa.spis);
    tell('down', session.sa);
    await closeAddresses(session, [...session.opened]);
  };

  /** @param {Session} session @param {readonly string[]} addresses */
  const closeAddresses = async (session, addresses) => {
    // An address may be somebody else's by now.
    const own = addresses.filter((address) => owners.get(address) === session);
    for (const address of own) {
      owners.delete(address);
      session.opened.delete(address);
    }
    await permits.drop(own);
  };

  /** Opens what a permitted session has, and nothing that it has no more. @param {Session} session */
  const open = async (session) => {
    const [now] = await charon().sas(session.sa.id);
    if (session.isOver) return;
    if (now !== undefined) session.sa = now;
    const { right, sa } = session;
    const seconds = Math.floor((session.permitEndsMs - performance.now()) / 1_000);
    if (right === null || seconds < 1) return;
    await closeAddresses(
      session,
      [...session.opened].filter((address) => !sa.inner.includes(address)),
    );
    for (const address of sa.inner) {
      const former = owners.get(address);
      if (former !== undefined && former !== session) former.opened.delete(address);
      owners.set(address, session);
      session.opened.add(address);
      await permits.put(address, right, seconds);
      // Whoever was cut while nft worked has closed what was open then; this came after.
      if (session.isOver) await permits.drop([address]);
    }
  };

  /**
   * @param {Session} session
   * @param {{ keyProved: boolean, isPatient: boolean }} how  isPatient: without an answer what it has runs on
   */
  const ask = async (session, { keyProved, isPatient }) => {
    const { certificate, sa } = session;
    if (certificate === null) return cut(session, 'its certificate is not known');
    let decision;
    const askedMs = performance.now();
    try {
      decision = await decide(sa, certificate, keyProved);
      // What the server permitted, the snapshot does not take back: it may be older than that permit.
      if (decision.isBySnapshot && decision.verdict === 'deny' && isPatient && performance.now() < session.permitEndsMs)
        throw new Error(`the server is dark, and by the snapshot it is ${decision.reasons.join(', ')}`);
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      if (session.isOver) return;
      if (!isPatient || performance.now() >= session.permitEndsMs) return cut(session, `no answer: ${message}`);
      log(`${sa.identity}: no answer, its permit runs on: ${message}`);
      again(session, Math.max(1, Math.min(ASK_AGAIN_MS, session.permitEndsMs - performance.now())));
      return;
    }
    if (session.isOver) return;
    const seconds = Math.min(decision.ttlSeconds, config.permitSecondsMax);
    if (decision.verdict === 'deny' || seconds < 1) {
      return cut(session, `denied${decision.isBySnapshot ? ', by the snapshot' : ''}: ${decision.reasons.join(', ')}`);
    }
    if (session.right === null || session.isBySnapshot !== decision.isBySnapshot) {
      const by = decision.isBySnapshot ? ', by the snapshot' : '';
      log(`${sa.identity} from ${sa.address}: ${decision.verdict} for ${seconds} s${by}`);
    }
    session.right = decision.verdict;
    session.isBySnapshot = decision.isBySnapshot;
    session.permitEndsMs = askedMs + seconds * 1_000;
    await open(session);
    again(session, (seconds * 1_000) / 2);
  };

  /** Possession was proved once; to ask again proves nothing new (rules of evidence). @param {Session} session @param {number} ms */
  const again = (session, ms) => {
    clearTimeout(session.timer);
    if (session.isOver || isClosed) return;
    session.timer = setTimeout(() => {
      void guarded(session, () => gate(() => ask(session, { keyProved: false, isPatient: true })));
    }, ms);
  };

  /** A fault of ours is no permit. @param {Session} session @param {() => Promise<unknown>} work */
  const guarded = async (session, work) => {
    try {
      await work();
    } catch (error) {
      await cut(session, /** @type {Error} */ (error).message);
    }
  };

  /** @param {Session} session */
  const admit = async (session) => {
    const { sa } = session;
    clearTimeout(quiet);
    // The set may still have this address from its last holder.
    await closeStale(sa.inner);
    const { ders, isSure } = await charon().certificates(sa.identity);
    const [certificate] = ders;
    if (certificate === undefined || ders.length > 1) {
      await charon().flush('x509');
      const found = ders.length === 0 ? 'no certificate' : `${ders.length} certificates`;
      return cut(session, `charon’s cache has ${found} of it; the next try will be clear`);
    }
    session.certificate = certificate;
    state.keep(sa.spis, certificate);
    await ask(session, { keyProved: isSure, isPatient: false });
    clearTimeout(quiet);
    if (isClosed) return;
    quiet = setTimeout(
      () =>
        charon()
          .flush('x509')
          .catch((error) => log(`flush: ${error.message}`)),
      QUIET_MS,
    );
  };

  /** @param {readonly string[]} addresses */
  const closeStale = async (addresses) => {
    await permits.drop(addresses.filter((address) => owners.get(address)?.right == null));
  };

  return {
    /** @param {import('./charon.mjs').CharonEvent} event */
    take: (event) => {
      if (!isWatched(event.sa)) return;
      const known = sessions.get(event.kind === 'rekey' ? event.was : event.sa.id);
      if (event.kind === 'up' && known === undefined) {
        const session = begin(event.sa);
        void guarded(session, () => admit(session));
      } else if (event.kind === 'down' && known !== undefined) {
        log(`${known.sa.identity} from ${known.sa.address}: gone`);
        void shut(known).catch((error) => log(`closing ${known.sa.identity}: ${error.message}`));
      } else if (event.kind === 'child-up') {
        if (known === undefined || known.right === null)
          void closeStale(event.sa.inner).catch((error) => log(error.message));
        else void guarded(known, () => open(known));
      } else if (event.kind === 'rekey' && known !== undefined) {
        tell('rekey', event.sa);
        tell('down', known.sa);
        if (known.certificate !== null) state.rename(known.sa.spis, event.sa.spis);
        sessions.delete(known.sa.id);
        known.formerSpis = [...known.formerSpis.slice(1 - FORMER_SPIS_MAX), known.sa.spis];
        known.sa = { ...event.sa, inner: known.sa.inner };
        sessions.set(event.sa.id, known);
      }
    },

    /** After our start, or charon's: everybody who is there is asked about again. */
    takeStock: async () => {
      const sas = (await charon().sas()).filter(isWatched);
      const there = new Set(sas.map(({ id }) => id));
      for (const session of [...sessions.values()]) if (!there.has(session.sa.id)) await shut(session);
      state.forgetAllBut(new Set(sas.map(({ spis }) => spis)));
      const unknown = sas.filter(({ id }) => !sessions.has(id));
      if (unknown.length > 0) log(`${unknown.length} IKE_SAs are there already: each is asked about`);
      for (const sa of unknown) {
        const session = begin(sa);
        session.certificate = state.certificate(sa.spis);
        if (session.certificate === null) {
          void guarded(session, () => gate(() => admit(session)));
          continue;
        }
        // What the sets still hold runs out by itself at the latest then.
        session.permitEndsMs = performance.now() + config.permitSecondsMax * 1_000;
        void guarded(session, () => gate(() => ask(session, { keyProved: false, isPatient: true })));
      }
    },

    /** These anew, as everybody after a gap in the feed; whoever gets no answer keeps what its permit gives. */
    askAll: async (is = (/** @type {Session} */ _session) => true) => {
      const known = [...sessions.values()].filter((session) => session.right !== null && is(session));
      await Promise.all(
        known.map((session) => guarded(session, () => gate(() => ask(session, { keyProved: false, isPatient: true })))),
      );
    },

    /** Ends every session that `is` names. @param {(session: { identity: string, certificate: Buffer | null }) => boolean} is @param {string} why */
    cutAll: async (is, why) => {
      const named = [...sessions.values()].filter(({ sa, certificate }) =>
        is({ identity: sa.identity.toLowerCase(), certificate }),
      );
      await Promise.all(named.map((session) => cut(session, why)));
    },

    /** @param {string} spis @returns {Sa | null} */
    bySpis: (spis) =>
      [...sessions.values()].find(({ sa, formerSpis }) => sa.spis === spis || formerSpis.includes(spis))?.sa ?? null,
    size: () => sessions.size,
    close: () => {
      isClosed = true;
      clearTimeout(quiet);
      for (const { timer } of sessions.values()) clearTimeout(timer);
    },
  };
}
