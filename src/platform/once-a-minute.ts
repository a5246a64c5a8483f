import type { Clock } from './clock.js';

/** Callers choose keys (prefixes of addresses): no more are remembered than these. */
const KEYS_MAX = 1_000;
const MINUTE_MS = 60_000;

/**
 * Lets something be said once a minute and key, with how often it happened since it was said last: whoever repeats
 * himself cannot fill a log. Past {@link KEYS_MAX} keys a minute the rest is said as one, `others`.
 *
 * @param say  `before` = how often the key was silent since its last line
 */
export function onceAMinute<Facts extends object>(
  clock: Clock,
  say: (key: string, facts: Facts & { readonly before: number }) => void,
): (key: string, facts: Facts) => void {
  let minute = Number.NaN;
  let silent = new Map<string, number>();
  let before = new Map<string, number>();
  return (wanted, facts) => {
    const now = Math.floor(clock.now().getTime() / MINUTE_MS);
    if (now !== minute) {
      before = now === minute + 1 ? silent : new Map();
      silent = new Map();
      minute = now;
    }
    const key = silent.has(wanted) || silent.size < KEYS_MAX ? wanted : 'others';
    const count = silent.get(key);
    silent.set(key, count === undefined ? 0 : count + 1);
    if (count === undefined) say(key, { ...facts, before: before.get(key) ?? 0 });
  };
}
