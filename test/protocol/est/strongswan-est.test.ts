import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type CuttingProxy, cuttingProxy } from '../../support/cutting-proxy.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';

let world: DeviceWorld;
let unit: ReturnType<typeof estUnit>;
let proxy: CuttingProxy;
let cas: string[];
let estca: string;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = estUnit(world.dir, world.port);
  proxy = await cuttingProxy(world.port);
  const caout = join(world.dir, 'ca');
  const { code, text } = await unit.pki('--estca', ['--caout', caout, '--outform', 'pem']);
  if (code !== 0) throw new Error(text);
  estca = text;
  cas = ['ca', 'ca-1', 'ca-2', 'ca-3', 'ca-root-2'].map((name) => join(world.dir, `${name}.pem`));
});
afterAll(async () => {
  await proxy.close();
  await world.close();
});

interface PkiRequest {
  readonly as?: CurlCredential;
  readonly code?: string;
  readonly keyFile?: string;
  readonly through?: CuttingProxy;
  readonly flags?: readonly string[];
}

/** `pki --gen`, `pki --req`, `pki --est`, as a vendor's script runs them. */
async function est({ as, code, keyFile, through, flags = [] }: PkiRequest) {
  const key = keyFile ?? (await newKey());
  const csr = unit.file('pki.csr');
  writeFileSync(csr, await unit.pkiBytes(['--req', '--type', 'ecdsa', '--in', key, '--dn', 'CN=femtocell']));
  const args = [
    ...['--in', csr, '--outform', 'pem'],
    ...(as === undefined ? [] : ['--cert', as.pemFile, '--key', as.keyFile]),
    ...(code === undefined ? [] : ['--userpass', `unit:${code}`]),
    ...cas.flatMap((file) => ['--cacert', file]),
    ...flags,
  ];
  const { code: exit, text } = await unit.pki('--est', args, through?.port);
  const pem = /-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\n/.exec(text)?.[0];
  const op = pem === undefined ? null : { keyFile: key, pemFile: unit.store('pki.pem', pem) };
  return { exit, text, keyFile: key, op };
}

async function newKey(): Promise<string> {
  const keyFile = unit.file('pki.key');
  writeFileSync(keyFile, await unit.pkiBytes(['--gen', '--type', 'ecdsa', '--size', '256', '--outform', 'pem']));
  return keyFile;
}

async function activeUnit(): Promise<WorldUnit & { op: CurlCredential }> {
  const who = await world.addUnit();
  const { op, text } = await est({ as: who, code: await world.grant(who) });
  if (op === null) throw new Error(text);
  return { ...who, op };
}

const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;
const generationsOf = async (who: WorldUnit): Promise<string[]> => {
  const { rows } = await world.db.pool.query<{ text: string }>(
    `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY id`,
    [who.id],
  );
  return rows.map(({ text }) => text);
};

describe('strongSwan pki --estca', () => {
  test('writes both roots, and under them the CAs that it finds trusted', async () => {
    const subjects = await Promise.all(cas.map((file) => unit.openssl('x509', '-in', file, '-noout', '-subject')));
    const names = subjects.map((line) => /CN = (.+) [0-9a-f]{16}$/m.exec(line)?.[1]).sort();
    expect(names).toEqual(['Access Root', 'Device CA 1', 'Device CA 2', 'Services CA', 'Services Root']);
    expect(estca.match(/Sub CA cert is trusted/g)).toHaveLength(3);
  });
});

describe('strongSwan pki --est', () => {
  test('activates with bootstrap certificate and code, then renews, and trusts what it gets', async () => {
    const who = await world.addUnit();
    const first = await est({ as: who, code: await world.grant(who) });
    expect([first.exit, first.text]).toEqual([0, expect.stringContaining('Issued certificate is trusted')]);
    const second = await est({ as: must(first.op) });
    expect([second.exit, second.text]).toEqual([0, expect.stringContaining('Issued certificate is trusted')]);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 pending']);
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('with the code but no certificate it gets 401, and nothing happens', async () => {
    const who = await world.addUnit();
    const { exit, text } = await est({ code: await world.grant(who) });
    expect([exit, text]).toEqual([1, expect.stringContaining('HTTP 401')]);
    expect(await generationsOf(who)).toEqual([]);
  });

  test('waits through 202 while another request of its unit is at the token, and shows its key anew when it comes back', async () => {
    const who = await activeUnit();
    const connected = world.token.connect('enrol');
    let release: () => void = () => undefined;
    const gate = new Promise<void>((done) => {
      release = done;
    });
    const slow = await world.addReplica({
      signer: { sign: (requests) => gate.then(() => connected.sign(requests)), close: async () => undefined },
    });
    const first = estUnit(world.dir, slow.port).enroll('simplereenroll', { as: who.op });
    for (let tries = 0; tries < 200 && !(await generationsOf(who)).includes('2 signing'); tries++) await sleep(25);
    const waiting = est({ as: who.op, flags: ['--interval', '1', '--maxpolltime', '15'] });
    await sleep(1_000);
    release();
    expect((await first).status).toBe(200);
    const { exit, text } = await waiting;
    expect([exit, text]).toEqual([0, expect.stringMatching(/request pending[\s\S]+going to sleep[\s\S]+is trusted/)]);
    expect(text.match(/created signature with/g)?.length).toBeGreaterThan(1);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 displaced', '2 pending']);
    expect(await stateOf(who)).toBe('ACTIVE');
  });
});

describe('a strongSwan client that loses its answer', () => {
  const given = async (path: 'activation' | 'renewal') => {
    if (path === 'renewal') {
      const who = await activeUnit();
      return { who, request: { as: who.op } };
    }
    const who = await world.addUnit();
    return { who, request: { as: who as CurlCredential, code: await world.grant(who) } };
  };

  test.each(['activation', 'renewal'] as const)('%s with the same key again: the same certificate', async (path) => {
    const { who, request } = await given(path);
    const before = await generationsOf(who);
    const cuts = proxy.cuts();
    const lost = await est({ ...request, through: proxy });
    expect([lost.exit, lost.op, proxy.cuts() - cuts]).toEqual([1, null, 1]);
    const issued = await generationsOf(who);
    expect(issued).toHaveLength(before.length + 1);
    const again = await est({ ...request, keyFile: lost.keyFile });
    expect(again.exit).toBe(0);
    expect(await generationsOf(who)).toEqual(issued);
    expect((await est({ as: must(again.op) })).exit).toBe(0);
    expect(await stateOf(who)).toBe('ACTIVE');
    expect(await world.ledger(who, 'lineage.forked')).toEqual([]);
  });

  test.each(['activation', 'renewal'] as const)(
    '%s with a new key: one soft displacement, and the unit goes on',
    async (path) => {
      const { who, request } = await given(path);
      const lost = await est({ ...request, through: proxy });
      expect(lost.op).toBeNull();
      const again = await est(request);
      expect([again.exit, again.text]).toEqual([0, expect.stringContaining('Issued certificate is trusted')]);
      expect((await generationsOf(who)).slice(-2).map((text) => text.split(' ')[1])).toEqual(['displaced', 'pending']);
      expect((await est({ as: must(again.op) })).exit).toBe(0);
      expect(await stateOf(who)).toBe('ACTIVE');
    },
  );
});

function must<T>(value: T | null): T {
  if (value === null) throw new Error('nothing was issued');
  return value;
}
