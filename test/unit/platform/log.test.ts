import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { createLogger } from '../../../src/platform/log.js';
import { RotatingFile } from '../../../src/platform/rotating-file.js';

function logged(write: (log: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  const destination = {
    write: (line: string) => {
      text += line;
    },
  };
  write(createLogger({ name: 'test', destination }));
  return text;
}

describe('log', () => {
  test('a line is JSON with process, level and time', () => {
    const entry = JSON.parse(logged((log) => log.info({ unitId: 7 }, 'renewed')));
    expect(entry).toMatchObject({
      name: 'test',
      level: 30,
      unitId: 7,
      msg: 'renewed',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  test('fields with a secret name are dropped at three depths, other fields stay', () => {
    const text = logged((log) =>
      log.warn(
        {
          pin: 's3cret',
          a: { password: 's3cret', b: { token: 's3cret', code: 'GRANT_BAD' } },
          headers: { 'set-cookie': 's3cret' },
        },
        'x',
      ),
    );
    expect(text).not.toContain('s3cret');
    expect(text).toContain('GRANT_BAD');
  });

  test('secrets in text, errors and their causes are blotted out', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAs3cret\n-----END PRIVATE KEY-----';
    const cause = new Error('connect postgresql://femtopki:s3cret@db/femtopki');
    const text = logged((log) => {
      log.error({ err: new Error('Bearer s3crets3cret', { cause }) }, key);
      log.info({ body: key }, 'cut short: -----BEGIN EC PRIVATE KEY-----s3cret');
    });
    expect(text).not.toContain('s3cret');
    expect(text).toContain('postgresql://femtopki:[redacted]@db');
    for (const line of text.trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
  });
});

test('a log file is closed and numbered at its size, and only so many closed ones are kept', () => {
  const dir = mkdtempSync(join(tmpdir(), 'fp-log-'));
  const file = new RotatingFile(join(dir, 'x.log'), { rotateBytes: 10, keepFiles: 2 });
  for (const line of ['first--\n', 'second-\n', 'third--\n', 'fourth-\n']) file.write(line);
  file.close();
  expect(readdirSync(dir).sort()).toEqual(['x.log', 'x.log.1', 'x.log.2']);
  expect(readFileSync(join(dir, 'x.log'), 'utf8')).toBe('fourth-\n');
  expect(readFileSync(join(dir, 'x.log.1'), 'utf8')).toBe('third--\n');
  expect(readFileSync(join(dir, 'x.log.2'), 'utf8')).toBe('second-\n');
  rmSync(dir, { recursive: true });
});
