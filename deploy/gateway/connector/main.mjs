#!/usr/bin/env node
/**
 * The connector of a femtopki gateway, beside strongSwan. Needs Node.js 20 or later and nothing else.
 *
 * usage: main.mjs --config FILE [--check]
 *
 * --check reads the configuration, asks charon, nft and the server, says what is wrong and ends.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makeAdmission } from './admission.mjs';
import { makeAnchorKeeper } from './anchors.mjs';
import { makeApi } from './api.mjs';
import { openCharon } from './charon.mjs';
import { readConfig } from './config.mjs';
import { makeCrlShelf } from './crl-shelf.mjs';
import { startFeedFollower } from './feed-follower.mjs';
import { makePermits } from './permits.mjs';
import { openStateDir } from './session-files.mjs';
import { startProbeAnswers, startSessionReporter } from './session-reporter.mjs';
import { makeSnapshotKeeper } from './snapshot-keeper.mjs';
import { makeTrust } from './trust.mjs';

const CHARON_AGAIN_MS = 500;
const REFRESH_EVERY_MS = 60_000;

/** journald and every supervisor add the time. @param {string} text */
const log = (text) => void process.stderr.write(`${text}\n`);

/** @param {import('./config.mjs').Config} config */
async function run(config) {
  const stopping = new AbortController();
  const { signal } = stopping;
  const trust = trustOf(config);
  const api = makeApi({ config, trust });
  const permits = makePermits(config.nft);
  const state = openStateDir(config.stateDir);
  await permits.check();

  /** @type {import('./charon.mjs').Charon | null} */
  let open = null;
  const charon = () => {
    if (open === null) throw new Error('charon is away');
    return open;
  };
  const shelf = makeCrlShelf({ config, api, charon, links: () => anchors.links(), log });
  const anchors = makeAnchorKeeper({ config, api, charon, shelf, learnCrls: async () => follower?.learnCrls(), log });
  shelf.learn(state.feed().places);
  const snapshots = config.snapshotSeconds === 0 ? null : makeSnapshotKeeper({ config, api, trust, shelf, log });
  const reporter = startSessionReporter({ api, log, signal });
  const admission = makeAdmission({
    config,
    api,
    snapshots,
    permits,
    state,
    charon,
    heard: () => follower?.heard() ?? { epoch: 0, seq: 0 },
    tell: reporter.tell,
    log,
  });
  const probes = config.probes ? startProbeAnswers({ api, bySpis: admission.bySpis, charon, log, signal }) : null;
  /** @type {ReturnType<typeof startFeedFollower> | null} */
  let follower = null;

  const refresh = setInterval(() => api.refresh(), REFRESH_EVERY_MS);
  shelf.startRefresh(signal, () =>
    admission.cutAll(
      ({ certificate }) => certificate !== null && (shelf.find(new X509Certificate(certificate))?.isListed ?? false),
      'the CRL lists its certificate',
    ),
  );
  anchors.startLooking(signal);
  void snapshots?.run(signal);
  const stop = () => stopping.abort();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  signal.addEventListener('abort', () => open?.close());

  while (!signal.aborted) {
    try {
      // What happens while stock is taken is looked at after it.
      const early = /** @type {import('./charon.mjs').CharonEvent[]} */ ([]);
      let hasStock = false;
      const take = (/** @type {import('./charon.mjs').CharonEvent} */ event) => {
        if (!hasStock) return void early.push(event);
        probes?.take(event);
        admission.take(event);
      };
      open = await openCharon(config.vici, take);
      await anchors.offer();
      await shelf.offer();
      await admission.takeStock();
      hasStock = true;
      for (const event of early) take(event);
      void anchors.round();
      follower ??= startFeedFollower({ api, admission, shelf, snapshots, state, log, signal });
      log(`watches ${config.vici} for ${config.gateway}; ${admission.size()} sessions`);
      const { message } = await open.closed;
      if (!signal.aborted) log(`charon is away (${message}): nobody is admitted`);
    } catch (error) {
      if (!signal.aborted) log(`charon: ${/** @type {Error} */ (error).message}`);
    }
    open?.close();
    open = null;
    await sleep(CHARON_AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
  // The sets keep what they have until its time is over: a restart interrupts nobody, and admits nobody.
  clearInterval(refresh);
  admission.close();
  api.close();
}

/** @param {import('./config.mjs').Config} config */
async function check(config) {
  const findings = /** @type {[string, () => Promise<unknown>][]} */ ([
    ['nft', () => makePermits(config.nft).check()],
    ['charon', async () => (await openCharon(config.vici, () => undefined)).close()],
    [
      'server',
      async () => {
        const api = makeApi({ config, trust: trustOf(config) });
        await api.page(openStateDir(config.stateDir).feed().position, 0).finally(() => api.close());
      },
    ],
  ]);
  for (const [what, work] of findings) {
    try {
      await work();
      log(`${what}: ok`);
    } catch (error) {
      log(`${what}: ${/** @type {Error} */ (error).message}`);
      process.exitCode = 1;
    }
  }
}

/** @param {import('./config.mjs').Config} config */
function trustOf({ api: { servicesRoot, intermediates } }) {
  const rootPem = readFileSync(servicesRoot, 'utf8');
  return makeTrust({ rootPem, intermediatesPem: readFileSync(intermediates, 'utf8') });
}

try {
  const { values } = parseArgs({ options: { config: { type: 'string' }, check: { type: 'boolean' } } });
  if (values.config === undefined) throw new Error('usage: main.mjs --config FILE [--check]');
  const config = readConfig(values.config);
  await (values.check ? check(config) : run(config));
} catch (error) {
  log(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}
