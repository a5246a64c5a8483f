import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/**
 * A command that starts another one under a clock that is so far ahead, with libfaketime. The offset is constant: processes need
 * share nothing to agree, and what counts intervals goes on counting.
 *
 * @returns null where libfaketime is not installed
 */
export function movedClock(byMs: number): readonly string[] | null {
  const { stdout } = spawnSync('dpkg', ['-L', 'libfaketime'], { encoding: 'utf8' });
  const library = (stdout ?? '').split('\n').find((line) => line.endsWith('libfaketimeMT.so.1'));
  if (library === undefined || !existsSync(library)) return null;
  // Set by the launcher and not before it: whoever changes its account afterwards could not open what the library shares.
  return ['env', `LD_PRELOAD=${library}`, `FAKETIME=+${byMs / 1_000}`, 'FAKETIME_DONT_FAKE_MONOTONIC=1'];
}
