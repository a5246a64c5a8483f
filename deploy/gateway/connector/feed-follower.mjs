/**
 * Follows the feed. Whoever is revoked or held is cut as soon as it is heard; `enforced` is said only once charon has the
 * CRL that says so and has forgotten what it had cached.
 *
 * @typedef {{ position: string, event: 'revoked' | 'held' | 'released', issuer: string, serial: string, unit: string | null, at: string }} Entry
 * @typedef {{ to: string, reason: string, crls: { issuer: string, url: string, certificate: string, thisUpdate: string }[] }} ResyncPage
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { positionOf } from './position.mjs';

const WAIT_SECONDS = 25;
const BACK_OFF_MS = [200, 500, 1_000, 2_000, 5_000];
const CRL_AGAIN_MS = 250;
/** A CRL this much younger than the decision that does not list the serial never will: it has expired, or was released. */
const SETTLED_MS = 10_000;
/** More than that at once: the whole CRLs are waited for instead. */
const OUTSTANDING_MAX = 50_000;

/**
 * @param {object} deps
 * @param {import('./api.mjs').Api} deps.api
 * @param {import('./admission.mjs').Admission} deps.admission
 * @param {import('./crl-shelf.mjs').CrlShelf} deps.shelf
 * @param {import('./snapshot-keeper.mjs').SnapshotKeeper | null} deps.snapshots
 * @param {import('./session-files.mjs').StateDir} deps.state
 * @param {(text: string) => void} deps.log
 * @param {AbortSignal} deps.signal
 */
export function startFeedFollower({ api, admission, shelf, snapshots, state, log, signal }) {
  let { position: enforced, places } = state.feed();
  let received = enforced;
  /** `enforced` never passes what the server knows to be received. */
  let acknowledged = enforced;
  /** Serial → entry, by issuer: what charon must come to know. @type {Map<string, Entry>} */
  let outstanding = new Map();
  let wake = () => {};

  const follow = async () => {
    for (let failures = 0; !signal.aborted; ) {
      try {
        // Said too late is better than never: the last try may have failed.
        if (acknowledged !== received) await sayReceived();
        const page = await api.page(received, WAIT_SECONDS);
        if (page.kind === 'resync') await takeResync(page);
        else await takeEntries(page);
        // Whoever came in while the server was silent is asked about now.
        if (failures > 0) void admission.askAll(({ isBySnapshot }) => isBySnapshot);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        log(`the feed: ${/** @type {Error} */ (error).message}`);
        await pause(BACK_OFF_MS[Math.min(failures++, BACK_OFF_MS.length - 1)] ?? 0);
      }
    }
  };

  const takeEntries = async (/** @type {{ to: string, entries: Entry[] }} */ { to, entries }) => {
    received = to;
    for (const entry of entries) {
      if (outstanding.size >= OUTSTANDING_MAX) throw new Error(`${OUTSTANDING_MAX} entries wait for their CRL`);
      // The last word about a serial counts: released after held, revoked after either.
      outstanding.set(`${entry.issuer} ${entry.serial}`, entry);
    }
    const bad = entries.filter(({ event }) => event !== 'released');
    snapshots?.deny(bad);
    await cutUnits(bad);
    await sayReceived();
  };

  const takeResync = async (/** @type {ResyncPage} */ page) => {
    log(`the feed begins anew at ${page.to} (${page.reason}): every CRL is loaded, every session asked about`);
    learn(page);
    snapshots?.forgetBefore(page.to);
    for (const { issuer, url, thisUpdate } of page.crls) {
      const { crl } = await shelf.fetch(issuer);
      if (crl.thisUpdateMs < Math.floor(Date.parse(thisUpdate) / 1_000) * 1_000) {
        throw new Error(`${url} is older than the feed says; fetching it again`);
      }
    }
    await shelf.flush();
    outstanding = new Map();
    received = page.to;
    await api.acknowledge(received, 'received');
    await admission.askAll();
    await settle(received);
    acknowledged = received;
  };

  const learn = (/** @type {ResyncPage} */ { crls }) => {
    places = Object.fromEntries(crls.map(({ issuer, url, certificate }) => [issuer, { url, certificate }]));
    shelf.learn(places);
  };

  const sayReceived = async () => {
    await api.acknowledge(received, 'received');
    acknowledged = received;
    wake();
  };

  /** Only a resync names the CRLs; a position that is none brings one. */
  const learnCrls = async () => {
    const page = await api.page('0:0', 0);
    if (page.kind === 'resync') learn(page);
  };

  const enforce = async () => {
    while (!signal.aborted) {
      const target = acknowledged;
      if (target === enforced) {
        await /** @type {Promise<void>} */ (
          new Promise((done) => {
            wake = done;
          })
        );
        continue;
      }
      try {
        if (await isEnforced()) await settle(target);
        else await pause(CRL_AGAIN_MS);
      } catch (error) {
        if (signal.aborted) return;
        log(`enforcing up to ${target}: ${/** @type {Error} */ (error).message}`);
        await pause(1_000);
      }
    }
  };

  /** True once charon knows all that is outstanding. */
  const isEnforced = async () => {
    const now = [...outstanding.entries()];
    const done = /** @type {[string, Entry][]} */ ([]);
    const issuers = new Set(now.map(([, entry]) => entry.issuer));
    if ([...issuers].some((issuer) => !shelf.has(issuer))) await learnCrls();
    for (const issuer of issuers) {
      const { crl } = await shelf.fetch(issuer);
      const told = now.filter(
        ([, { issuer: of, serial, event, at }]) =>
          of === issuer &&
          (crl.lists(serial) === (event !== 'released') || crl.thisUpdateMs > Date.parse(at) + SETTLED_MS),
      );
      done.push(...told);
    }
    if (done.length > 0) {
      await shelf.flush();
      // Whoever came back between the cut and the flush was let in by what charon had cached.
      await cutUnits(done.map(([, entry]) => entry).filter(({ event }) => event !== 'released'));
      for (const [key, entry] of done) if (outstanding.get(key) === entry) outstanding.delete(key);
    }
    return outstanding.size === 0;
  };

  const settle = async (/** @type {string} */ position) => {
    // Said first: a crash between the two says it again, which changes nothing.
    await api.acknowledge(position, 'enforced');
    enforced = position;
    state.keepFeed({ position, places });
  };

  const cutUnits = async (/** @type {readonly Entry[]} */ entries) => {
    const units = new Set(entries.flatMap(({ unit }) => (unit === null ? [] : [unit.toLowerCase()])));
    if (units.size === 0) return;
    const [{ event, serial } = { event: '', serial: '' }] = entries;
    await admission.cutAll(({ identity }) => units.has(identity), `the feed says ${event} (${serial})`);
  };

  const pause = (/** @type {number} */ ms) => sleep(ms, undefined, { signal }).catch(() => undefined);

  signal.addEventListener('abort', () => wake());
  void follow();
  void enforce();
  return {
    heard: () => positionOf(received),
    learnCrls,
  };
}
