import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { kitModule } from './kit.js';

const { readConfig } = await kitModule('config');
const EXAMPLE = new URL('../../../deploy/gateway/connector.example.json', import.meta.url);
const dir = mkdtempSync(join(tmpdir(), 'fp-kit-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('the connector’s configuration', () => {
  test('the example is whole once its files are there, and defaults fill the rest', () => {
    expect(readConfig(write(example()))).toMatchObject({
      gateway: 'segw-gangnam-1',
      authoriseTimeoutMs: 700,
      permitSecondsMax: 900,
      nft: { table: 'femtopki', program: '/usr/sbin/nft' },
    });
  });

  test('every fault is said at once, with the way out', () => {
    const { gateway: _, ...rest } = example();
    const file = write({
      ...rest,
      api: { ...rest.api, url: 'http://pki.example', key: join(dir, 'absent.key') },
      nft: { table: 'x; flush ruleset' },
      authoriseTimeoutMs: 5_000,
      permitSecondMax: 3,
    });
    expect(() => readConfig(file)).toThrow(
      [
        'permitSecondMax: is not known; there are gateway, api, vici, connections, nft, stateDir, crlDir, authoriseTimeoutMs, permitSecondsMax, snapshotSeconds, probes',
        'gateway: must be a text',
        'nft.table: must be the name of a table',
        'authoriseTimeoutMs: must be a whole number from 100 to 800',
        'api.url: must be https://host:port without a path',
        `api.key: cannot be read: ENOENT: no such file or directory, open '${join(dir, 'absent.key')}'`,
      ]
        .map((fault) => `${file}: ${fault}`)
        .join('\n'),
    );
  });

  test('a file that is no JSON is named', () => {
    const file = join(dir, 'broken.json');
    writeFileSync(file, '{');
    expect(() => readConfig(file)).toThrow(file);
  });
});

function example() {
  const given = JSON.parse(readFileSync(EXAMPLE, 'utf8'));
  for (const name of ['servicesRoot', 'intermediates', 'certificate', 'key']) {
    given.api[name] = join(dir, name);
    writeFileSync(given.api[name], '');
  }
  return given;
}

function write(content: unknown): string {
  const file = join(dir, 'connector.json');
  writeFileSync(file, JSON.stringify(content));
  return file;
}
