import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { RotatingFile } from '../../../src/platform/rotating-file.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-rotate-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('passes its size, is numbered, and keeps no more than it may', () => {
  const file = new RotatingFile(join(dir, 'a.log'), { rotateBytes: 10, keepFiles: 2 });
  for (const line of ['one 56789\n', 'two 56789\n', 'three\n', 'four\n', 'five 6789\n']) file.write(line);
  file.close();
  expect(readdirSync(dir).sort()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
  expect(readFileSync(join(dir, 'a.log'), 'utf8')).toBe('five 6789\n');
});

test('drops what comes behind its end, and leaves the file alone that has its number now', () => {
  const file = new RotatingFile(join(dir, 'a.log'), { rotateBytes: 1_000, keepFiles: 2 });
  file.write('first\n');
  file.close();
  const other = openSync(join(dir, 'b.log'), 'a');
  file.write('late\n');
  file.close();
  closeSync(other);
  expect(readFileSync(join(dir, 'a.log'), 'utf8')).toBe('first\n');
  expect(readFileSync(join(dir, 'b.log'), 'utf8')).toBe('');
});
