/**
 * The signer as an installation runs it, over a fresh token, and a caller that keeps it full by the enrol socket: finished
 * TBS, so that what is measured is the signer. Journal, fsync and checks are on; only the rate cap is raised in signer.yaml.
 * argv[2], optional: `network` puts the token behind a network. Message `{seconds}` → a SignerRound, with `idle` one in which
 * nothing is asked; `check` → what was found in the journal and in the signatures.
 */
import { verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { readJournal } from '../../src/platform/hsm/journal.js';
import { readSignerConfig } from '../../src/platform/hsm/signer-config.js';
import { importPublicKey, readSpki } from '../../src/x509/spki.js';
import { freePorts } from '../../test/support/ports.js';
import { leafRequest } from '../../test/support/tbs.js';
import { freshToken } from '../../test/support/token.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import type { Round } from '../scenario.js';
import { behindNetwork } from './network-hsm.js';

const ISSUER = 'device-ca-1';
const REQUESTS = 1_024;
const FRAME = 256;
/** Frames on the way: one is signed while others are read, judged and journalled. */
const FRAMES = 4;

/** One network answer takes a millisecond: three threads reach the pair's rate, the others have room to be late. */
const NETWORK_THREADS = 8;
const LOOP_RESOLUTION_MS = 10;

export interface SignerLoadReady {
  readonly token: { path: string; environment: Record<string, string>; tokenLabel: string; pinFile: string };
  readonly keyLabel: string;
}

export type SignerRound = Round & {
  /** Cores that the signer's processes kept busy. */
  readonly signerBusy: number;
  /** 99th percentile of how late the event loop was, of the signer's `ca` process and of its caller's. */
  readonly loopDelayMs: { readonly signer: number; readonly caller: number };
};

const [metricsPort = 0] = await freePorts(1);
const token = await freshToken({
  metricsPort,
  configure: (config) => {
    config.leavesPerSecondMax = 1_000_000;
    if (process.argv[2] !== 'network') return;
    behindNetwork(config);
    config.tokenThreads = NETWORK_THREADS;
  },
});
const signer = token.connect('enrol', 30_000);
const issuer = token.entry(ISSUER);
const requests = Array.from({ length: REQUESTS }, () => leafRequest({ issuer }));
const frames = Array.from({ length: REQUESTS / FRAME }, (_, at) => requests.slice(at * FRAME, (at + 1) * FRAME));
const kept = new Map<number, Buffer>();
let signed = 0;
let refused = 0;
let firstRefusal = '';

async function round(seconds: number, idle: boolean): Promise<SignerRound> {
  const root = token.signerProcess()?.pid ?? 0;
  const cpuBefore = treeCpuSeconds(root);
  const own = process.cpuUsage();
  const startMs = performance.now();
  const before = signed;
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  loop.enable();
  if (idle) await sleep(seconds * 1_000);
  else {
    const lanes = Array.from({ length: FRAMES }, async (_, lane) => {
      for (let turn = lane; performance.now() - startMs < seconds * 1_000; turn += 1) await ask(turn % frames.length);
    });
    await Promise.all(lanes);
  }
  loop.disable();
  const caller = Math.max(0, loop.percentile(99) / 1e6 - LOOP_RESOLUTION_MS);
  const took = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(own);
  const operations = signed - before;
  const signerSeconds = treeCpuSeconds(root) - cpuBefore;
  return {
    perSecond: operations / took,
    cpuSecondsPerOperation: signerSeconds / operations,
    signerBusy: signerSeconds / took,
    generatorBusy: (user + system) / 1e6 / took,
    loopDelayMs: { signer: await signerLoopDelayMs(), caller },
  };
}

/** Of the second before the signer was last asked by its parent. */
async function signerLoopDelayMs(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  return 1_000 * Number(/^femtopki_signer_loop_delay_p99_seconds\{class="ca"\} (.*)$/m.exec(text)?.[1]);
}

async function ask(frame: number): Promise<void> {
  const results = await signer.sign(frames[frame] ?? []);
  for (const [index, result] of results.entries()) {
    if (result.ok) {
      signed += 1;
      kept.set(frame * FRAME + index, result.signature);
    } else {
      refused += 1;
      firstRefusal ||= `${result.code}: ${result.message}`;
    }
  }
}

/** The last signature over each TBS under the CA's key, and a journal line for every signature. */
function check(): { what: string; ok: boolean }[] {
  const key = importPublicKey(readSpki(Buffer.from(issuer.spkiHex, 'hex')));
  const wrong = [...kept].filter(
    ([index, signature]) => !verify('sha256', requests[index]?.tbs ?? Buffer.alloc(0), key, signature),
  );
  let lines = 0;
  for (const { purpose } of readJournal(join(token.dataDir, 'signer'), 'ca')) if (purpose === 'operational') lines += 1;
  return [
    { what: `no row was refused (${refused} were; ${firstRefusal || 'none'})`, ok: refused === 0 },
    { what: `${kept.size} signatures verify, one over each TBS`, ok: wrong.length === 0 && kept.size === REQUESTS },
    { what: `${signed} signatures, ${lines} lines in the journal`, ok: lines === signed },
  ];
}

process.on('message', (order: { seconds: number; idle?: boolean } | 'check') => {
  if (order === 'check') process.send?.(check());
  else void round(order.seconds, order.idle ?? false).then((measured) => process.send?.(measured));
});
const end = (): void => void token.dispose().then(() => process.exit(0));
process.on('SIGTERM', end);
process.on('disconnect', end);
const { module, tokenLabel, pinFile } = readSignerConfig(token.signerConfigPath);
readFileSync(pinFile); // a sentence now is better than a silent limit probe
process.send?.({ token: { ...module, tokenLabel, pinFile }, keyLabel: ISSUER } satisfies SignerLoadReady);
