import { FemtoError } from '../../platform/errors.js';

const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** `90s`, `15m`, `12h`, `2d`. @throws FemtoError BAD_REQUEST naming the option */
export function durationSeconds(text: string, option: string): number {
  const [, count, unit] = /^(\d{1,7})([smhd])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined) {
    throw new FemtoError('BAD_REQUEST', `${option} takes a duration like 90s, 15m, 12h or 2d.`);
  }
  return Number(count) * SECONDS[unit as keyof typeof SECONDS];
}
