/**
 * Keeps the newest snapshot on disk, and what the feed said since. It answers only when the caller knows that the server is
 * dark; whatever is missing, old or contradicted by the feed or a CRL is a denial.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { appendFileSync, closeSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isBefore, positionOf } from './position.mjs';
import { isOlder, readSnapshot, reasonsAgainst } from './snapshot.mjs';
import { read, write } from './whole-file.mjs';

const AGAIN_MS = 10_000;
const SKEW_MS_MAX = 60_000;
/** So many said since the snapshot: it is given up rather than carried along. */
const DENIED_MAX = 50_000;

/**
 * @typedef {ReturnType<typeof makeSnapshotKeeper>} SnapshotKeeper
 * @typedef {{ position: string, unit: string | null, issuer: string, serial: string }} Denied
 */

/**
 * @param {object} deps
 * @param {import('./config.mjs').Config} deps.config
 * @param {Pick<import('./api.mjs').Api, 'snapshot'>} deps.api
 * @param {import('./trust.mjs').Trust} deps.trust
 * @param {Pick<import('./crl-shelf.mjs').CrlShelf, 'find'>} deps.shelf
 * @param {(text: string) => void} deps.log
 * @param {() => number} [deps.now]  epoch ms
 */
export function makeSnapshotKeeper({ config, api, trust, shelf, log, now = Date.now }) {
  const file = join(config.stateDir, 'snapshot.bin');
  const seenFile = join(config.stateDir, 'snapshot-seen.json');
  const deniedFile = join(config.stateDir, 'denied-since.jsonl');

  /** The newest that ever was here, also after it was given up. @type {{ position: import('./position.mjs').Position, issuedAtMs: number }} */
  let seen = JSON.parse(read(seenFile)?.toString() ?? '{"position":{"epoch":0,"seq":0},"issuedAtMs":0}');
  /** @type {import('./snapshot.mjs').Snapshot | null} */
  let snapshot = null;
  /** By this clock that nobody sets, too: monotonic ms. */
  let endsMs = 0;
  /** @type {Denied[]} */
  let denied = [];
  let wake = () => {};

  const hold = (/** @type {import('./snapshot.mjs').Snapshot} */ next) => {
    if (snapshot === null) log(`has a snapshot that holds until ${new Date(next.validUntilMs).toISOString()}`);
    snapshot = next;
    endsMs = performance.now() + Math.min(next.validUntilMs - now(), next.validUntilMs - next.issuedAtMs);
  };
  const writeDenied = () => write(deniedFile, Buffer.from(denied.map((one) => `${JSON.stringify(one)}\n`).join('')));

  const load = () => {
    // A line that was cut off was never acknowledged: the feed says it again.
    const lines = (read(deniedFile)?.toString() ?? '').split('\n').slice(0, -1);
    denied = lines.map((line) => JSON.parse(line));
    writeDenied();
    const bytes = read(file);
    if (bytes === null) return;
    const kept = readSnapshot(bytes, { trust, gateway: config.gateway, now: now() });
    if (isOlder(kept, seen)) throw new Error('it is older than one that was here before');
    hold(kept);
  };

  const fetch = async () => {
    const nonce = randomBytes(16).toString('hex');
    const next = readSnapshot(await api.snapshot(nonce), { trust, gateway: config.gateway, now: now() });
    if (next.nonce !== nonce) throw new Error('an answer to somebody else');
    if (isOlder(next, seen))
      throw new Error('older than what was seen before; the one that is here stays until its end');
    seen = { position: next.position, issuedAtMs: next.issuedAtMs };
    // In this order: a crash between the two leaves a snapshot that counts as older, which is one less.
    write(seenFile, Buffer.from(JSON.stringify(seen)));
    write(file, next.bytes);
    hold(next);
    denied = denied.filter(({ position }) => isBefore(next.position, positionOf(position)));
    writeDenied();
  };

  const drop = () => {
    log('the snapshot is given up: what the feed said since is not known here one by one');
    snapshot = null;
    rmSync(file, { force: true });
  };

  /** @param {AbortSignal} signal */
  const run = async (signal) => {
    while (!signal.aborted) {
      let pauseMs = config.snapshotSeconds * 1_000;
      try {
        await fetch();
      } catch (error) {
        if (signal.aborted) return;
        log(`the snapshot: ${/** @type {Error} */ (error).message}`);
        pauseMs = Math.min(pauseMs, AGAIN_MS);
      }
      const sooner = new AbortController();
      wake = () => sooner.abort();
      await sleep(pauseMs, undefined, { signal: AbortSignal.any([signal, sooner.signal]) }).catch(() => undefined);
    }
  };

  try {
    load();
  } catch (error) {
    log(`${file} is not used: ${/** @type {Error} */ (error).message}`);
  }

  /** @param {Buffer} der @param {string} identity @param {string} address @returns {string[]} */
  const judge = (der, identity, address) => {
    if (snapshot === null || now() > snapshot.validUntilMs || performance.now() > endsMs) return ['SNAPSHOT_STALE'];
    // A clock that was set back would make an old one young.
    if (now() < snapshot.issuedAtMs - SKEW_MS_MAX) return ['SNAPSHOT_STALE'];
    const certificate = new X509Certificate(der);
    const found = shelf.find(certificate);
    if (found === null) return ['UNKNOWN_ISSUER'];
    const fqdn = identity.toLowerCase();
    const serialHex = certificate.serialNumber.toLowerCase().padStart(32, '0');
    const reasons = [];
    if (now() < Date.parse(certificate.validFrom)) reasons.push('CERT_NOT_YET_VALID');
    if (now() > Date.parse(certificate.validTo)) reasons.push('CERT_EXPIRED');
    if (certificate.subjectAltName?.toLowerCase() !== `dns:${fqdn}`) reasons.push('ID_MISMATCH');
    const isDenied = denied.some(
      ({ unit, issuer, serial }) => unit?.toLowerCase() === fqdn || (issuer === found.issuer && serial === serialHex),
    );
    if (found.isListed || isDenied) reasons.push('CERT_REVOKED');
    return [...reasons, ...reasonsAgainst(snapshot, { fqdn, issuer: found.issuer, serialHex, address })];
  };

  return {
    run,
    /**
     * Only for who has found the server dark.
     *
     * @param {{ certificateDer: Buffer, identity: string, address: string }} unit
     * @returns {{ verdict: 'permit' | 'deny', reasons: string[], ttlSeconds: number }}
     */
    decide: ({ certificateDer, identity, address }) => {
      const reasons = judge(certificateDer, identity, address);
      if (reasons.length > 0 || snapshot === null) return { verdict: 'deny', reasons, ttlSeconds: 0 };
      const end = Math.min(snapshot.validUntilMs, Date.parse(new X509Certificate(certificateDer).validTo));
      return { verdict: 'permit', reasons: [], ttlSeconds: Math.floor((end - now()) / 1_000) };
    },
    /**
     * What the feed says against a unit holds until a snapshot that knows of it; a release alone lifts nothing. On disk before
     * it is acknowledged.
     *
     * @param {readonly (Denied & { event: string })[]} entries
     */
    deny: (entries) => {
      const lines = entries
        .filter(({ event }) => event !== 'released')
        .filter(({ position }) => snapshot === null || isBefore(snapshot.position, positionOf(position)))
        .map(({ position, unit, issuer, serial }) => ({ position, unit, issuer, serial }));
      if (lines.length === 0) return;
      if (denied.length + lines.length > DENIED_MAX) {
        drop();
        denied = [];
        writeDenied();
        return wake();
      }
      denied.push(...lines);
      const handle = openSync(deniedFile, 'a', 0o600);
      try {
        appendFileSync(handle, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
    },
    /** After a gap in the feed: what was decided up to there is not known here one by one. @param {string} text  position */
    forgetBefore: (text) => {
      const position = positionOf(text);
      if (snapshot !== null && isBefore(snapshot.position, position)) drop();
      if (isBefore(seen.position, position)) {
        seen = { ...seen, position };
        write(seenFile, Buffer.from(JSON.stringify(seen)));
      }
      wake();
    },
  };
}
