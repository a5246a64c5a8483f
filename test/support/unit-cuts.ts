/**
 * Drill D9 with clients that are not ours: a process of curl or openssl is killed in the middle of a renewal, by its own
 * id, and the unit comes back by itself, with the key it had kept or, where that went too, with another.
 */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CurlCredential } from './curl-unit.js';
import type { CutLine, LinePoint } from './cut-line.js';
import type { Outcome, UnitProtocol, Wish } from './unit-protocols.js';

/** A renewal as a process of its own. */
export interface RenewalProcess {
  readonly command: string;
  readonly args: readonly string[];
  /** What lies on the flash afterwards: the new certificate, or null where nothing whole came. */
  stored(): Promise<CurlCredential | null>;
}

export interface CutUnit {
  readonly line: CutLine;
  readonly protocol: UnitProtocol;
  /** The unit's current certificate. */
  op: CurlCredential;
  process(as: CurlCredential, keyFile: string): Promise<RenewalProcess>;
}

export interface CutPlan {
  readonly units: readonly CutUnit[];
  readonly points: readonly LinePoint[];
  /** Cuts at each point. */
  readonly perPoint: number;
  /** Whether the unit has its new key still when the power is back. */
  readonly keepsKey: boolean;
  /** Called before a renewal whose key will be lost: an hour lies between two soft displacements (rules section 4). */
  readonly beforeLoss?: (unit: CutUnit) => Promise<void>;
}

/**
 * Every unit meets every point, one after another, so that a cut may also follow a cut.
 *
 * @returns how often the client was killed at each point; one that was done before the signal came has another turn
 * @throws Error where a unit did not come back by itself
 */
export async function runCuts(plan: CutPlan): Promise<Readonly<Record<string, number>>> {
  const { units, points, perPoint } = plan;
  const killed = new Map(points.map((point) => [point, 0]));
  const queue = Array.from({ length: perPoint * points.length }, (_, at) => points[at % points.length] as LinePoint);
  await Promise.all(
    units.map(async (unit) => {
      for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
        if (await renewWithCut(unit, point, plan)) killed.set(point, (killed.get(point) ?? 0) + 1);
        else queue.push(point);
      }
    }),
  );
  return Object.fromEntries(killed);
}

const TRIES_MAX = 40;
const PAUSE_MS = 250;
/** Shorter than issuing takes: the server is at work, or has not begun. */
const AT_WORK_MS_MAX = 8;

async function renewWithCut(unit: CutUnit, point: LinePoint, { keepsKey, beforeLoss }: CutPlan): Promise<boolean> {
  if (!keepsKey) await beforeLoss?.(unit);
  const keyFile = await unit.protocol.newKey();
  const { command, args, stored } = await unit.process(unit.op, keyFile);
  const child = spawn(command, [...args], { stdio: 'ignore' });
  const gone = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_code, signal) => done(signal)));
  unit.line.arm(point, () => {
    if (point === 'request sent') setTimeout(() => child.kill('SIGKILL'), Math.random() * AT_WORK_MS_MAX);
    else child.kill('SIGKILL');
  });
  const signal = await gone;
  const op = (await stored()) ?? (await comeBack(unit, keepsKey ? { keyFile } : {}));
  await unit.protocol.confirm(op);
  unit.op = op;
  return signal === 'SIGKILL';
}

async function comeBack({ protocol, op }: CutUnit, wish: Wish): Promise<CurlCredential> {
  const { keyFile = await protocol.newKey() } = wish;
  let last: Outcome = { kind: 'lost' };
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    last = await protocol.renew(op, { keyFile });
    if (last.kind === 'issued') return last.op;
    if (last.kind === 'refused') break;
    await sleep(PAUSE_MS);
  }
  throw new Error(`the unit is stuck: ${JSON.stringify(last)}`);
}
