type RandomBytes = (length: number) => Buffer;

/** Anywhere in the window, evenly: what spreads a fleet whose windows were moved together. ISO 8601 in and out. */
export function momentWithin(renewFrom: string, renewUntil: string, random: RandomBytes): string {
  const from = Date.parse(renewFrom);
  const until = Date.parse(renewUntil);
  return new Date(from + (until - from) * partOf(random)).toISOString();
}

/** Retry-After is obeyed, and stretched by up to a half, so that units told the same do not come together. */
export function stretched(seconds: number, random: RandomBytes): number {
  return Math.ceil(seconds * (1 + partOf(random) / 2));
}

/**
 * A server that cannot be had is asked less and less often, up to every quarter of an hour, and never by all units at once:
 * when it is back after a night, they come over as long a time.
 *
 * @param tries  in a row that reached nobody, 1 for the first
 */
export function unreachableWaitSeconds(tries: number, random: RandomBytes): number {
  const seconds = Math.min(UNREACHABLE_SECONDS_MAX, UNREACHABLE_SECONDS_MIN * 2 ** Math.min(tries - 1, 10));
  return Math.ceil(seconds * (0.5 + partOf(random) / 2));
}

function partOf(random: RandomBytes): number {
  return random(4).readUInt32BE(0) / 2 ** 32;
}

const UNREACHABLE_SECONDS_MIN = 60;
const UNREACHABLE_SECONDS_MAX = 900;
