/** Starts and drives {@link ./issuance-child.ts}. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ApprovedRequest } from '../../src/lifecycle/issuance/index.js';
import type { IssuanceWorld, TestUnit } from './issuance-world.js';

export interface ChildSettings {
  readonly databaseUrl: string;
  readonly runDir: string;
  readonly failpoints?: string;
  readonly recordTriesMs?: number;
  readonly bendSignature?: boolean;
}

export interface WireRequest {
  readonly unit: TestUnit;
  readonly spkiHex: string;
  readonly successor: ApprovedRequest['successor'];
  readonly purpose?: ApprovedRequest['purpose'];
}

export interface ChildJob {
  readonly id: number;
  readonly requests: readonly WireRequest[];
}

/** `code`: `ok`, an error code, or `died` when the process ended before it answered. */
export interface ChildOutcome {
  readonly code: string;
  readonly attemptId?: string;
  readonly derHex?: string;
}

export interface IssuanceProcess {
  readonly child: ChildProcess;
  issueMany(requests: readonly WireRequest[]): Promise<ChildOutcome[]>;
  /** Resolves with the signal that ended it; null where it exited by itself. */
  readonly ended: Promise<NodeJS.Signals | null>;
  end(): Promise<void>;
}

const CHILD = fileURLToPath(new URL('./issuance-child.ts', import.meta.url));
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;

export async function startIssuanceProcess(
  world: Pick<IssuanceWorld, 'db' | 'token'>,
  settings: Omit<ChildSettings, 'databaseUrl' | 'runDir'> = {},
): Promise<IssuanceProcess> {
  const all: ChildSettings = { databaseUrl: world.db.url, runDir: world.token.runDir, ...settings };
  const child = fork(CHILD, [JSON.stringify(all)], {
    execArgv: ['--import', LOADER],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const ended = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_code, signal) => done(signal)));
  let nextId = 1;
  const waiting = new Map<number, (outcomes: ChildOutcome[]) => void>();
  child.on('message', ({ id, outcomes }: { id: number; outcomes: ChildOutcome[] }) => {
    waiting.get(id)?.(outcomes);
    waiting.delete(id);
  });
  const ready = new Promise<ChildOutcome[]>((done) => waiting.set(0, done));
  await Promise.race([
    ready,
    ended.then(() => {
      throw new Error('the issuance process did not start');
    }),
  ]);
  return {
    child,
    ended,
    issueMany: (requests) => {
      const id = nextId++;
      const answered = new Promise<ChildOutcome[]>((done) => waiting.set(id, done));
      child.send({ id, requests } satisfies ChildJob);
      return Promise.race([answered, ended.then(() => requests.map(() => ({ code: 'died' })))]);
    },
    end: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
