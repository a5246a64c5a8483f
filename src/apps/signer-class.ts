/**
 * One class process of the signer: the only code that opens the token, with one login of its own.
 * Reachable by: local processes that may open its unix sockets. Signs with: the keys of its class in signer.yaml.
 * Writes: its journal, the newest CRLs (`ca`) or the last head (`audit`) in the signer's state directory; no database.
 * Started by signer.ts, which watches it; without that parent it ends.
 */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pino } from 'pino';
import { BarredKeys } from '../platform/hsm/barred-keys.js';
import { describeAttributes } from '../platform/hsm/check-key-attributes.js';
import type { ChildMessage, ParentMessage } from '../platform/hsm/child-messages.js';
import { NewestCrlReader } from '../platform/hsm/crl-memory.js';
import { readSignedParts } from '../platform/hsm/crl-parts.js';
import { readHierarchy } from '../platform/hsm/hierarchy.js';
import { Journal } from '../platform/hsm/journal.js';
import { Judge, labelsOfClass } from '../platform/hsm/judge.js';
import { readLastHead } from '../platform/hsm/judge-head.js';
import type { KeyClass } from '../platform/hsm/key-class.js';
import { PinMarker } from '../platform/hsm/pin-marker.js';
import { RateCap } from '../platform/hsm/rate-cap.js';
import { readSignerConfig, type SignerConfig } from '../platform/hsm/signer-config.js';
import { listenForRoles } from '../platform/hsm/signer-sockets.js';
import { SigningDesk } from '../platform/hsm/signing-desk.js';
import { TokenFault } from '../platform/hsm/token.js';
import { TOKEN_THREAD } from '../platform/hsm/token.pkcs11.js';
import { type LoginOutcome, TokenKeeper } from '../platform/hsm/token-keeper.js';
import { TokenThreads } from '../platform/hsm/token-threads.js';
import { systemClock } from '../platform/system-clock.js';

/** Exit codes the parent acts on (sysexits.h): configuration, and input/output. */
export const EXIT_KEY_REFUSED = 78;
const EXIT_DISK_FAILURE = 74;
const EXIT_THREAD_LOST = 70;
const LOOP_DELAY_RESOLUTION_MS = 10;
/** More threads than this wait for each other inside a software token. */
const TOKEN_THREADS_DEFAULT_MAX = 4;

export async function runSignerClass(keyClass: KeyClass, configPath: string): Promise<void> {
  const log = pino({ base: { app: 'signer', keyClass } }, pino.destination({ dest: 2, sync: true }));
  const config = readSignerConfig(configPath);
  mkdirSync(config.stateDir, { recursive: true, mode: 0o750 });
  const nowMs = () => performance.now();
  const marker = new PinMarker(config.stateDir);
  const judge = await judgeOf(config, keyClass);
  const journal = await Journal.open(config.stateDir, keyClass, config.journal.rotateBytes);
  const threadCount = config.tokenThreads ?? Math.min(availableParallelism(), TOKEN_THREADS_DEFAULT_MAX);
  const threads = new TokenThreads({
    entry: TOKEN_THREAD,
    // Heads are signed one after another.
    count: keyClass === 'audit' ? 1 : threadCount,
    settings: config,
    onLost: (failure) => {
      log.fatal({ err: failure }, 'a token thread ended by itself; ending');
      process.exit(EXIT_THREAD_LOST);
    },
  });
  const keeper = new TokenKeeper({
    threads,
    labels: labelsOfClass(config, keyClass),
    turn: loginTurn,
    marker,
    nowMs,
    onOpen: (keys) => {
      judge.judge.learn(keys);
      for (const key of keys.values()) {
        log.info({ key: key.label, curve: key.curve, attributes: describeAttributes(key.attributes) }, 'key verified');
      }
    },
    onPinRefused: (fault) => {
      const rv = fault.rv.toString(16);
      marker.set({ at: systemClock.now().toISOString(), keyClass, tokenLabel: config.tokenLabel, rv });
      log.fatal(
        { rv, marker: marker.path },
        'the token refused the PIN; nobody tries again until the marker is removed',
      );
    },
    onKeyRefused: (refusal) => {
      log.fatal({ key: refusal.label }, refusal.message);
      tell({ kind: 'key-refused', message: refusal.message });
      // Give the message time to leave; exit codes alone would not say which key.
      setTimeout(() => process.exit(EXIT_KEY_REFUSED), 100);
    },
    onState: (state, reason) => {
      log[state === 'ready' || state === 'closed' ? 'info' : 'warn']({ state }, reason);
      tell({ kind: 'state', state, reason });
    },
  });
  const desk = new SigningDesk({
    judge: judge.judge,
    journal,
    keeper,
    rateCap: new RateCap(config.leavesPerSecondMax, nowMs),
    stateDir: config.stateDir,
    lookAhead: keyClass !== 'audit',
    now: () => systemClock.now(),
    nowMs,
    onHeadSigned: judge.onHeadSigned,
    onDiskFailure: (failure) => {
      log.fatal({ err: failure }, 'the journal or state could not be made durable; ending without another signature');
      setTimeout(() => process.exit(EXIT_DISK_FAILURE), 100);
    },
    onUnexpected: (failure) => {
      if (failure instanceof TokenFault) log.warn({ fault: failure.message }, 'the token did not sign');
      else log.error({ err: failure }, 'a request failed inside the signer');
    },
  });
  const sockets = await listenForRoles({
    runDir: config.runDir,
    keyClass,
    submit: (item) => desk.submit(item),
    onFault: (role, fault) => log.warn({ role, err: fault }, 'a connection was closed'),
  });

  const stop = async (): Promise<void> => {
    desk.stop();
    await sockets.close();
    await keeper.close();
    await journal.close();
    process.exit(0);
  };
  process.on('disconnect', () => void stop());
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => undefined); // Ctrl-C reaches the whole group: the parent decides the order
  const loopDelay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
  loopDelay.enable();
  process.on('message', (message: ParentMessage) => {
    if (message.kind === 'ping') {
      const loopDelayP99Ms = Math.max(0, loopDelay.percentile(99) / 1e6 - LOOP_DELAY_RESOLUTION_MS);
      loopDelay.reset();
      const tokenSilentMs = keeper.silentMs();
      tell({ kind: 'pong', counts: desk.counts(), journalled: journal.counter, tokenSilentMs, loopDelayP99Ms });
    }
    if (message.kind === 'stop') void stop();
  });
  void keeper.start();
  await desk.run();
}

async function judgeOf(config: SignerConfig, keyClass: KeyClass) {
  // Kept in memory after the first read: this process is the only writer.
  let lastHead = keyClass === 'audit' ? readLastHead(config.stateDir) : undefined;
  const judge = new Judge({
    config,
    hierarchy: readHierarchy(config.hierarchyFile),
    keyClass,
    now: () => systemClock.now().getTime(),
    crls: new NewestCrlReader(config.stateDir),
    signedParts: (issuerLabel) => readSignedParts(config.stateDir, issuerLabel),
    lastHead: () => lastHead,
    barred: new BarredKeys(config.stateDir),
  });
  return {
    judge,
    onHeadSigned: (head: typeof lastHead) => {
      lastHead = head;
    },
  };
}

/** Asks the parent for this class's turn to log in. */
function loginTurn(): Promise<(outcome: LoginOutcome) => void> {
  return new Promise((resolve) => {
    const granted = (message: ParentMessage): void => {
      if (message.kind !== 'login-granted') return;
      process.off('message', granted);
      resolve((outcome) => tell({ kind: 'login-over', outcome }));
    };
    process.on('message', granted);
    tell({ kind: 'may-login' });
  });
}

function tell(message: ChildMessage): void {
  // The parent may be gone already; then 'disconnect' ends this process.
  if (process.connected) process.send?.(message);
}
