import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem } from '../../../src/x509/certificate.js';
import { run, runClient } from '../../support/command.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { openStatusPort, opensslOcsp, type StatusPort } from '../../support/status-service.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let beats: NodeJS.Timeout;
beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  await world.beat();
  beats = setInterval(() => void world.beat(), 1_000);
  port = await openStatusPort(world);
});
afterAll(async () => {
  clearInterval(beats);
  await port.close();
  rooms.remove();
  await world.close();
});

const why = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const ask = (serial: Buffer, options: { nonce?: boolean; sha256?: boolean; args?: string[] } = {}) =>
  opensslOcsp(port, { ca: world.deviceCa, root: world.roots.access, serial, ...options });
const path = (name: string) => join(port.dir, name);

/** NOTIFY is asynchronous; a client may ask before it arrives. */
async function until(check: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 5_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error('not seen within 5 s');
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function unitWith(certificate = {}): Promise<{ unitId: number; certificate: WorldCertificate }> {
  const unit = await world.addUnit();
  return { unitId: unit.id, certificate: await world.issue({ unitId: unit.id, generation: 1, ...certificate }) };
}

describe('openssl ocsp (REV-2, RFC 6960)', () => {
  test.each([
    ['with a nonce', { nonce: true }],
    ['without a nonce', { nonce: false }],
    ['with a SHA-256 CertID', { nonce: false, sha256: true }],
  ])('a recorded certificate is good, %s', async (_how, options) => {
    const { certificate } = await unitWith();
    const text = await ask(certificate.serial, options);
    expect(text).toContain('Response verify OK');
    expect(text).toMatch(/0x[0-9a-fA-F]+: good/);
    expect(text).not.toContain('WARNING: no nonce');
  });

  test('the answer names its signer by key, says when the state was seen, and ends within the hour', async () => {
    const { certificate } = await unitWith();
    const text = await ask(certificate.serial, { args: ['-resp_text'] });
    expect(text).toMatch(/Responder Id: [0-9A-F]{40}/);
    expect(text).toContain('OCSP Nonce');
    const time = (name: string) => new Date(new RegExp(`${name}: (.*)`).exec(text)?.[1] ?? '').getTime();
    expect(time('Next Update') - time('This Update')).toBe(3_600_000);
    expect(Date.now() - time('This Update')).toBeLessThan(5_000);
  });

  test.each([[true], [false]])('held, released, revoked are seen at once (nonce: %s)', async (nonce) => {
    const { unitId, certificate } = await unitWith();
    const says = (word: string | RegExp) =>
      until(async () => new RegExp(word).test(await ask(certificate.serial, { nonce })));
    await says(': good');
    await rooms.revocation.hold({ ...why, selection: { by: 'unit', unitId } });
    await says(': revoked');
    expect(await ask(certificate.serial, { nonce })).toContain('Reason: certificateHold');
    await rooms.revocation.release({ ...why, unitId });
    await says(': good');
    await rooms.revocation.revoke({ ...why, selection: { by: 'unit', unitId } });
    await says(': revoked');
    const text = await ask(certificate.serial, { nonce });
    expect(text).toContain('Reason: keyCompromise');
    expect(text).toContain('Response verify OK');
  });

  test('never issued: revoked since 1970 on hold, with the extended-revoke extension, never on a CRL', async () => {
    const serial = Buffer.concat([Buffer.from([1]), hour(), Buffer.alloc(11, 0x5a)]);
    const text = await ask(serial, { args: ['-resp_text'] });
    expect(text).toContain('Response verify OK');
    expect(text).toContain(': revoked');
    expect(text).toContain('Revocation Time: Jan  1 00:00:00 1970 GMT');
    expect(text).toContain('Reason: certificateHold');
    // OpenSSL 3.0 writes id-pkix-ocsp 9 by its old name.
    expect(text).toMatch(/Response Extensions:[\s\S]*(valid|Extended OCSP Status):/);
  });

  test('a serial that we could never draw is never issued, too', async () => {
    expect(await ask(Buffer.from('1234', 'hex'))).toContain('Revocation Time: Jan  1 00:00:00 1970 GMT');
  });

  test('a serial from the future, and one that is being signed, are tryLater', async () => {
    const future = Buffer.alloc(4);
    future.writeUInt32BE(Math.floor(Date.now() / 3_600_000) + 5);
    expect(await ask(Buffer.concat([Buffer.from([1]), future, Buffer.alloc(11, 7)]))).toContain('trylater (3)');
    const signing = await world.issue({ state: 'signing' });
    expect(await ask(signing.serial)).toContain('trylater (3)');
  });

  test('another CA of the world is unauthorized; the same serial under our other CA is never issued', async () => {
    const { certificate } = await unitWith();
    const foreign = await opensslOcsp(port, {
      ca: world.roots.access,
      root: world.roots.access,
      serial: certificate.serial,
    });
    expect(foreign).toContain('unauthorized (6)');
    const other = await opensslOcsp(port, {
      ca: world.bootstrapCa,
      root: world.roots.bootstrap,
      serial: certificate.serial,
    });
    expect(other).toContain(': revoked');
    expect(other).toContain('1970');
  });

  test('bootstrap and services certificates have their own responders', async () => {
    const bootstrap = await world.issue({ purpose: 'bootstrap', lifeSeconds: 86_400 * 200 });
    const services = await world.issue({ purpose: 'services' });
    const { roots } = world;
    const first = await opensslOcsp(port, { ca: world.bootstrapCa, root: roots.bootstrap, serial: bootstrap.serial });
    const second = await opensslOcsp(port, { ca: world.servicesCa, root: roots.services, serial: services.serial });
    for (const text of [first, second]) {
      expect(text).toContain('Response verify OK');
      expect(text).toContain(': good');
    }
  });

  test('a responder is itself good', async () => {
    const { rows } = await world.db.pool.query('SELECT certificate_der FROM ocsp_signer WHERE issuer_id = $1', [
      world.deviceCa.id,
    ]);
    writeFileSync(path('responder.pem'), certificatePem(rows[0].certificate_der));
    const issuer = path(`${world.deviceCa.label}.pem`);
    const { text } = await runClient('openssl', [
      'ocsp',
      '-issuer',
      issuer,
      '-cert',
      path('responder.pem'),
      '-url',
      `${port.url}/ocsp`,
      '-CAfile',
      path('access-root.pem'),
    ]);
    expect(text).toContain('responder.pem: good');
  });

  test('what the ceremony made is good where the ceremony was, by its signature and not by its name', async () => {
    const made = await world.issue({ state: 'signing', ca: world.servicesCa, purpose: 'services' });
    await world.db.pool.query('DELETE FROM issuance_intent WHERE serial = $1', [made.serial]);
    const told = async (der: Buffer) => {
      const other = await openStatusPort(world, { ceremonyCertificates: () => [{ label: 'audit', der }] });
      const text = await opensslOcsp(other, { ca: world.servicesCa, root: world.roots.services, serial: made.serial });
      await other.close();
      return text;
    };
    expect(await told(made.der)).toContain(': good');
    const forged = Buffer.from(made.der);
    forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
    expect(await told(forged)).toContain(': revoked');
  });

  test('several questions in one: every answer, one signature; from two CAs: unauthorized', async () => {
    const [one, two] = [await unitWith(), await unitWith()];
    await rooms.revocation.revoke({ ...why, selection: { by: 'unit', unitId: two.unitId } });
    const second = `0x${two.certificate.serial.toString('hex')}`;
    const text = await ask(one.certificate.serial, { args: ['-serial', second] });
    expect(text).toContain('Response verify OK');
    expect(text).toMatch(/: good[\s\S]*: revoked/);
    const mixed = await ask(one.certificate.serial, {
      args: ['-issuer', path('bootstrap-ca.pem'), '-serial', '0x1234'],
    });
    expect(mixed).toContain('unauthorized (6)');
  });
});

function hour(): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Math.floor(Date.now() / 3_600_000));
  return bytes;
}

describe('GET by curl, judged by openssl (RFC 6960 appendix A.1, RFC 9919)', () => {
  async function requestOf(serial: Buffer, args: readonly string[] = ['-no_nonce']): Promise<Buffer> {
    const issuer = path(`${world.deviceCa.label}.pem`);
    run('openssl', [
      'ocsp',
      '-issuer',
      issuer,
      '-serial',
      `0x${serial.toString('hex')}`,
      ...args,
      '-reqout',
      path('req.der'),
    ]);
    return readFileSync(path('req.der'));
  }

  function judge(serial: Buffer): string {
    const issuer = path(`${world.deviceCa.label}.pem`);
    return run('openssl', [
      'ocsp',
      '-issuer',
      issuer,
      '-serial',
      `0x${serial.toString('hex')}`,
      '-no_nonce',
      '-respin',
      path('resp.der'),
      '-CAfile',
      path('access-root.pem'),
    ]).text;
  }

  const curl = (urlPath: string, args: readonly string[] = []) =>
    runClient('curl', [
      '-sS',
      '--path-as-is',
      '-D',
      path('headers'),
      '-o',
      path('resp.der'),
      ...args,
      `${port.url}${urlPath}`,
    ]);
  const headers = () => readFileSync(path('headers'), 'latin1').toLowerCase();

  /** Serials until the base64 holds what proxies and clients like to spoil. */
  async function spoilable(): Promise<{ serial: Buffer; base64: string }> {
    for (;;) {
      const { certificate } = await unitWith();
      const base64 = (await requestOf(certificate.serial)).toString('base64');
      if (base64.includes('//') || (base64.includes('/') && base64.includes('+')))
        return { serial: certificate.serial, base64 };
    }
  }

  test('escaped, unescaped, double-escaped, with slashes and pluses: the same good answer', async () => {
    const { serial, base64 } = await spoilable();
    const once = encodeURIComponent(base64);
    for (const spelling of [
      base64,
      once,
      encodeURIComponent(once),
      `/${base64}`,
      base64.replaceAll('/', '%2f'),
      base64.replace(/=+$/, ''),
    ]) {
      await curl(`/ocsp/${spelling}`);
      expect(headers()).toContain('200 ok');
      const verdict = judge(serial);
      expect(verdict).toContain('Response verify OK');
      expect(verdict).toContain(': good');
    }
  });

  test('caches may keep it for five seconds, whatever nextUpdate says, and ask again by ETag', async () => {
    const { certificate } = await unitWith();
    const base64 = encodeURIComponent((await requestOf(certificate.serial)).toString('base64'));
    await curl(`/ocsp/${base64}`);
    expect(headers()).toContain('content-type: application/ocsp-response');
    expect(headers()).toContain('cache-control: max-age=5, public, no-transform, must-revalidate');
    expect(headers()).toMatch(/last-modified: /);
    expect(headers()).not.toContain('expires:');
    const etag = /etag: (\S+)/.exec(headers())?.[1] ?? '';
    await curl(`/ocsp/${base64}`, ['-H', `If-None-Match: ${etag}`]);
    expect(headers()).toContain('304 not modified');
    expect(headers()).toContain(`etag: ${etag}`);
  });

  test('an answer to a nonce, and one for an unknown serial, may not be kept', async () => {
    const { certificate } = await unitWith();
    const withNonce = (await requestOf(certificate.serial, ['-nonce'])).toString('base64');
    await curl(`/ocsp/${encodeURIComponent(withNonce)}`);
    expect(headers()).toContain('cache-control: no-store');
    const unknown = (await requestOf(Buffer.concat([Buffer.from([1]), hour(), Buffer.alloc(11, 0x33)]))).toString(
      'base64',
    );
    await curl(`/ocsp/${encodeURIComponent(unknown)}`);
    expect(headers()).toContain('cache-control: no-store');
  });

  test.each(['/ocsp/%', '/ocsp/MEU%2', '/ocsp/%ff', '/ocsp/', '/ocsp', '/ocsp/not*base64'])(
    '%s is HTTP 400',
    async (urlPath) => {
      await curl(urlPath);
      expect(headers()).toContain('400 bad request');
    },
  );
});

describe('ocsptool of GnuTLS', () => {
  async function ocsptool(certificate: WorldCertificate): Promise<string> {
    const { roots, deviceCa } = world;
    writeFileSync(path('leaf.pem'), certificatePem(certificate.der));
    writeFileSync(
      path('trust.pem'),
      certificatePem(roots.access.certificateDer) + certificatePem(deviceCa.certificateDer),
    );
    const files = { issuer: 'device-ca-1.pem', cert: 'leaf.pem', trust: 'trust.pem' };
    const loads = Object.entries(files).map(([what, name]) => `--load-${what}=${path(name)}`);
    return (await runClient('ocsptool', [`--ask=${port.url}/ocsp`, ...loads])).text;
  }

  test('good, then revoked', async () => {
    const { unitId, certificate } = await unitWith();
    const before = await ocsptool(certificate);
    expect(before).toContain('Certificate Status: good');
    expect(before).toContain('Verifying OCSP Response: Success');
    await rooms.revocation.revoke({ ...why, selection: { by: 'unit', unitId } });
    await until(async () => (await ocsptool(certificate)).includes('Certificate Status: revoked'));
  });
});
