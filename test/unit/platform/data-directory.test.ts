import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { dataPaths, holdDataDirectory, holderOf } from '../../../src/platform/data-directory.js';

let dir: string;
let other: ChildProcess | undefined;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'fp-data-')), 'data');
});
afterEach(() => {
  other?.kill();
  other = undefined;
  rmSync(join(dir, '..'), { recursive: true });
});

/** A lock as another process would have written it. */
function lockOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}\n`;
}

describe('data directory', () => {
  test('its parts are closed to every other account', () => {
    const held = holdDataDirectory(dir);
    for (const part of ['run', 'secrets', 'ca', 'signer', 'logs', 'crl', 'anchors', 'tls'] as const) {
      expect(statSync(held.paths[part]).mode & 0o777).toBe(0o700);
    }
    expect(statSync(dir).mode & 0o066).toBe(0); // nobody else may list or write it
    held.release();
  });

  test('a second start is told who holds it, and may have it after the release', () => {
    const held = holdDataDirectory(dir);
    other = spawn('sleep', ['60']);
    expect(holderOf(dir)).toBe(process.pid);
    expect(() => holdDataDirectory(dir)).toThrow(`is in use by process ${process.pid}`);
    held.release();
    expect(holderOf(dir)).toBeUndefined();
    holdDataDirectory(dir).release();
  });

  test('a lock of another living process counts; of a dead one, or a reused number, not', () => {
    holdDataDirectory(dir).release();
    const lock = join(dataPaths(dir).run, 'lock');
    other = spawn('sleep', ['60']);
    const text = lockOf(other.pid ?? 0);
    writeFileSync(lock, text);
    expect(() => holdDataDirectory(dir)).toThrow(`in use by process ${other?.pid}`);
    writeFileSync(lock, text.replace(/ \d+/, ' 1')); // the same number, another start time
    const held = holdDataDirectory(dir);
    expect(readFileSync(lock, 'utf8')).toBe(lockOf(process.pid));
    held.release();
  });

  test('releasing never removes a lock that is not ours any more', () => {
    const held = holdDataDirectory(dir);
    const lock = join(held.paths.run, 'lock');
    writeFileSync(lock, '1 1\n');
    held.release();
    expect(readFileSync(lock, 'utf8')).toBe('1 1\n');
  });
});
