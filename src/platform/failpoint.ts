/**
 * Named points where a test may break the process: `FEMTOPKI_FAILPOINT=after-sign:kill,issue-commit:ok-then-error`.
 * Does nothing unless {@link armFailpoints} was called, which wiring does only when test hooks are switched on.
 *
 * Modes: `kill` (SIGKILL, as a power cut would), `error` (throws), `delay=<ms>`, and `ok-then-error` (the call it guards
 * takes effect, then its answer is lost; see {@link failpointAfter}). `name@N:mode` waits for the N-th passage.
 */
import { setTimeout as sleep } from 'node:timers/promises';

interface Armed {
  readonly mode: 'kill' | 'error' | 'delay' | 'ok-then-error';
  readonly delayMs: number;
  /** Passages still to be let through before it strikes. */
  skip: number;
}

const armed = new Map<string, Armed>();

/**
 * Arms what `spec` names and disarms the rest; an empty string disarms everything.
 *
 * @throws RangeError on a spec that cannot be read: a mistyped failpoint would make its test prove nothing
 */
export function armFailpoints(spec: string): void {
  armed.clear();
  for (const part of spec.split(',').filter((text) => text !== '')) {
    const match = /^([a-z0-9-]+)(?:@(\d+))?:(kill|error|delay|ok-then-error)(?:=(\d+))?$/.exec(part);
    if (!match?.[1] || !match[3]) throw new RangeError(`cannot read the failpoint "${part}"`);
    armed.set(match[1], {
      mode: match[3] as Armed['mode'],
      delayMs: Number(match[4] ?? 0),
      skip: Math.max(0, Number(match[2] ?? 1) - 1),
    });
  }
}

/** Passes the point `name`: returns at once unless a test armed it. */
export async function failpoint(name: string): Promise<void> {
  if (armed.size === 0) return;
  const point = strike(name);
  if (point === undefined || point.mode === 'ok-then-error') return;
  await act(name, point);
}

/** Runs `effect`; when `name` is armed as `ok-then-error` its effect stands but its answer is lost. */
export async function failpointAfter<T>(name: string, effect: () => Promise<T>): Promise<T> {
  if (armed.size === 0) return effect();
  const point = strike(name);
  if (point !== undefined && point.mode !== 'ok-then-error') await act(name, point);
  const value = await effect();
  if (point?.mode === 'ok-then-error') throw new Error(`failpoint ${name}: the answer was lost`);
  return value;
}

function strike(name: string): Armed | undefined {
  const point = armed.get(name);
  if (point === undefined) return undefined;
  if (point.skip > 0) {
    point.skip -= 1;
    return undefined;
  }
  return point;
}

async function act(name: string, point: Armed): Promise<void> {
  if (point.mode === 'kill') {
    process.kill(process.pid, 'SIGKILL');
    await new Promise(() => undefined); // the signal is on its way; nothing after this line may run
  }
  if (point.mode === 'error') throw new Error(`failpoint ${name}`);
  await sleep(point.delayMs);
}
