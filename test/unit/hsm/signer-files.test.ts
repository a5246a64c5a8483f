import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { checkPeople, readCeremonyFile } from '../../../src/operator/ceremony/ceremony-file.js';
import { signerYaml } from '../../../src/operator/ceremony/signer-file.js';
import { checkKeyAttributes } from '../../../src/platform/hsm/check-key-attributes.js';
import { listsSerial, NewestCrlReader, writeNewestCrl } from '../../../src/platform/hsm/crl-memory.js';
import { Journal, journalFiles, readJournal } from '../../../src/platform/hsm/journal.js';
import { RateCap } from '../../../src/platform/hsm/rate-cap.js';
import { readSignerConfig } from '../../../src/platform/hsm/signer-config.js';
import { prepareSocketsDir, signerSocketPath, socketsDir } from '../../../src/platform/hsm/socket-path.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-signer-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const demoFile = resolve('hsm-config', 'ceremony', 'demo.yaml');

describe('signer.yaml', () => {
  test('the documented example is what a ceremony writes', () => {
    const example = readSignerConfig(resolve('hsm-config', 'signer.yaml'));
    const written = join(dir, 'signer', 'signer.yaml');
    mkdirSync(join(dir, 'signer'));
    writeFileSync(
      written,
      signerYaml({
        file: readCeremonyFile(demoFile).file,
        installation: example.installation,
        module: example.module,
      }),
    );
    const { purposes, ...rest } = readSignerConfig(written);
    expect(purposes).toEqual(example.purposes);
    expect(rest).toMatchObject({
      leavesPerSecondMax: 5_000,
      tokenLabel: example.tokenLabel,
      pinFile: join(dir, 'secrets', 'token-online.pin'),
    });
  });

  test('every fault is named at once, unknown keys included', () => {
    const path = join(dir, 'signer.yaml');
    writeFileSync(
      path,
      readFileSync(resolve('hsm-config', 'signer.yaml'), 'utf8')
        .replace('lifeSecondsMax: 86400', 'lifeSecondsMax: -1')
        .replace('stateDir:', 'stateDirr:'),
    );
    expect(() => readSignerConfig(path)).toThrow(/stateDir: .*purposes\.crl\.lifeSecondsMax: .*stateDirr/s);
  });
});

describe('ceremony file', () => {
  test('roots that share a token, CAs under the wrong root and repeated labels are refused together', () => {
    const path = join(dir, 'bent.yaml');
    const text = readFileSync(demoFile, 'utf8')
      .replace('token: femtopki-bootstrap-root', 'token: femtopki-access-root')
      .replace(
        'label: bootstrap-ca, kind: bootstrap-ca, commonName: Bootstrap CA, root: bootstrap-root',
        'label: device-ca-1, kind: bootstrap-ca, commonName: Bootstrap CA, root: services-root',
      );
    writeFileSync(path, text);
    expect(() => readCeremonyFile(path)).toThrow(
      /every label must be used once.*token of its own.*must be signed by the root-bootstrap/s,
    );
  });

  test('production refuses one person, one person twice, and a person without a PIN share', () => {
    const { file } = readCeremonyFile(demoFile);
    const lead = { name: 'Kim', role: 'lead' as const, present: true, pinShareFile: 'a' };
    const production = (people: typeof file.people) => () => checkPeople({ ...file, mode: 'production', people });
    expect(() => checkPeople(file)).not.toThrow();
    expect(production(file.people)).toThrow('two different people present');
    expect(production([lead, { ...lead, name: ' kim', role: 'witness' }])).toThrow('two different people present');
    expect(production([lead, { name: 'Lee', role: 'witness', present: true }])).toThrow('nobody knows a whole PIN');
    expect(production([lead, { name: 'Lee', role: 'witness', present: true, pinShareFile: 'b' }])).not.toThrow();
  });

  test('unknown fields are refused', () => {
    const path = join(dir, 'extra.yaml');
    writeFileSync(path, `${readFileSync(demoFile, 'utf8')}\nexportable: true\n`);
    expect(() => readCeremonyFile(path)).toThrow('exportable');
  });
});

/** Serials left-padded to the 20 bytes of a record. */
function recordsOf(serials: readonly Buffer[]): Buffer {
  return Buffer.concat(serials.map((serial) => Buffer.concat([Buffer.alloc(20 - serial.length), serial])));
}

describe('newest CRL in memory', () => {
  test('finds each of many serials and none that is not there, and sees a newer file', () => {
    const serials = Array.from({ length: 500 }, (_none, index) => randomBytes(index % 2 === 0 ? 16 : 9).fill(1, 0, 1));
    const reader = new NewestCrlReader(dir);
    expect(reader.newest('ca')).toBeUndefined();
    writeNewestCrl(dir, 'ca', {
      number: 7n,
      thisUpdateMs: 1_700_000_000_000,
      serials: recordsOf(serials),
    });
    const crl = reader.newest('ca');
    expect(crl).toMatchObject({ number: 7n, thisUpdateMs: 1_700_000_000_000 });
    if (!crl) return;
    expect(serials.every((serial) => listsSerial(crl, serial))).toBe(true);
    expect(Array.from({ length: 500 }, () => randomBytes(16)).some((serial) => listsSerial(crl, serial))).toBe(false);
    writeNewestCrl(dir, 'ca', { number: 8n, thisUpdateMs: 1, serials: Buffer.alloc(0) });
    expect(reader.newest('ca')?.number).toBe(8n);
  });

  test('a damaged file is an error, never an empty list', () => {
    writeFileSync(join(dir, 'crl-ca.bin'), 'FPCRL1\0\0short');
    expect(() => new NewestCrlReader(dir).newest('ca')).toThrow('is damaged');
  });
});

describe('journal', () => {
  const item = (name: string) => ({
    request: { purpose: 'operational' as const, keyLabel: 'device-ca-1', name },
    tbsSha256: createHash('sha256').update(name).digest(),
  });

  test('counts on over restarts and files; a line without its end is not there', async () => {
    const at = new Date('2026-11-24T10:00:00Z');
    let journal = await Journal.open(dir, 'ca', 300);
    for (const name of ['01', '02', '03', '04', '05']) await journal.append([item(name)], at);
    await journal.close();
    writeFileSync(join(dir, 'journal-ca.log'), `${readFileSync(join(dir, 'journal-ca.log'), 'latin1')}v1 6 torn`);
    expect([...readJournal(dir, 'ca')].map(({ name }) => name)).toEqual(['01', '02', '03', '04', '05']);
    journal = await Journal.open(dir, 'ca', 300);
    expect(journal.counter).toBe(5);
    await journal.append([item('06'), item('07')], at);
    await journal.close();
    const entries = [...readJournal(dir, 'ca')];
    expect(entries.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(entries[6]).toEqual({
      seq: 7,
      at: at.toISOString(),
      purpose: 'operational',
      keyLabel: 'device-ca-1',
      name: '07',
      tbsSha256Hex: createHash('sha256').update('07').digest('hex'),
    });
    expect(journalFiles(dir, 'ca').length).toBeGreaterThan(2);
    expect([...readJournal(dir, 'ocsp')]).toEqual([]);
  });
});

describe('small things', () => {
  test('the rate cap gives one second at once and then its rate', () => {
    let now = 0;
    const cap = new RateCap(100, () => now);
    const take = (count: number) => Array.from({ length: count }, () => cap.take()).filter(Boolean).length;
    expect(take(500)).toBe(100);
    now += 250;
    expect(take(500)).toBe(25);
    now += 60_000;
    expect(take(500)).toBe(100);
  });

  test('every wrong attribute of a key is named in one refusal', () => {
    const attributes = {
      sensitive: false,
      alwaysSensitive: false,
      extractable: true,
      neverExtractable: false,
      local: false,
      token: true,
      private: true,
      sign: true,
      signRecover: false,
      decrypt: true,
      unwrap: false,
      derive: false,
    };
    expect(() => checkKeyAttributes({ label: 'x', curve: 'P-256', spki: Buffer.alloc(0), attributes })).toThrow(
      /CKA_SENSITIVE is false.*CKA_ALWAYS_SENSITIVE.*CKA_EXTRACTABLE is true.*CKA_NEVER_EXTRACTABLE.*CKA_LOCAL.*CKA_DECRYPT is true/s,
    );
  });

  test('sockets of a deep data directory move to a short private one that clients find', () => {
    const deep = join(dir, 'a'.repeat(60), 'b'.repeat(60), 'run');
    expect(signerSocketPath(join(dir, 'run'), 'ca', 'enrol')).toBe(join(dir, 'run', 'signer-ca-enrol.sock'));
    const made = prepareSocketsDir(deep);
    expect(made.length).toBeLessThan(60);
    expect(socketsDir(deep)).toBe(made);
    expect(prepareSocketsDir(deep)).toBe(made);
    expect(signerSocketPath(deep, 'audit', 'worker')).toBe(join(made, 'signer-audit-worker.sock'));
    rmSync(made, { recursive: true });
  });

  test('stringify and the schema agree on a changed file', () => {
    const path = join(dir, 'signer.yaml');
    const config = readSignerConfig(resolve('hsm-config', 'signer.yaml'));
    writeFileSync(path, stringify(config));
    expect(readSignerConfig(path)).toEqual(config);
  });
});
