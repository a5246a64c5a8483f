import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { certify, jwsBy, kitModule, type Party } from './kit.js';

const { makeTrust } = await kitModule('trust');
const { readSnapshot, reasonsAgainst } = await kitModule('snapshot');
const { makeSnapshotKeeper } = await kitModule('snapshot-keeper');

const GATEWAY = 'segw-gangnam-1';
const ISSUER = 'ab'.repeat(20);
const HOUR_MS = 3_600_000;
/** Drawn two hours before now, so that it is judged by the list and not by its youth. */
const serialAt = (ms: number, last = 1) => {
  const serial = Buffer.alloc(16, last);
  serial[0] = 1;
  serial.writeUInt32BE(Math.floor(ms / HOUR_MS), 1);
  return serial.toString('hex');
};
const NOW = Date.now();
const SERIAL = serialAt(NOW - 2 * HOUR_MS);
const FQDN = '00005e005317.femto.hanbit.example';
const UNIT = { fqdn: FQDN, issuer: ISSUER, serialHex: SERIAL, address: '198.51.100.7' };

let root: Party;
let ca: Party;
let decision: Party;
let station: Party;
let dir: string;

beforeAll(async () => {
  root = await certify('CN=Services Root');
  ca = await certify('CN=Services CA', root);
  decision = await certify('OU=decision, CN=decision-1', ca);
  station = await certify('OU=station, CN=station-1', ca);
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-snap-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('a snapshot', () => {
  test('lets a unit in with its head or the one before, on its own line, by the longest prefix', () => {
    const against = (unit: object) => reasonsAgainst(read(), { ...UNIT, ...unit });
    expect(against({})).toEqual([]);
    expect(against({ address: '::ffff:198.51.100.7' })).toEqual([]);
    expect(against({ address: '2001:db8:10::7' })).toEqual([]);
    expect(against({ serialHex: serialAt(NOW - 2 * HOUR_MS, 2) })).toEqual([]);
    expect(against({ serialHex: serialAt(NOW - 2 * HOUR_MS, 3) })).toEqual(['CERT_SUPERSEDED']);
    expect(against({ serialHex: serialAt(NOW, 4) })).toEqual([]);
    expect(against({ address: '198.51.100.200' })).toEqual(['LINE_MISMATCH']);
    expect(against({ address: '2001:db8:20::7' })).toEqual(['NET_UNKNOWN']);
    expect(against({ address: '203.0.113.7' })).toEqual(['NET_UNKNOWN']);
    expect(against({ address: 'fe80::1%eth0' })).toEqual(['NET_UNKNOWN']);
    expect(against({ fqdn: '00005e005318.femto.hanbit.example' })).toEqual(['DENIED']);
    expect(against({ issuer: 'cd'.repeat(20) })).toEqual(['CERT_SUPERSEDED']);
  });

  test('that is altered anywhere, cut off, or longer than what was signed is none', () => {
    const whole = made();
    const length = 4 + whole.readUInt32BE(0);
    for (const at of [...Array(whole.length - length).keys()].map((n) => n + length)) {
      const altered = Buffer.from(whole);
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(() => read(altered)).toThrow('a block is not what was signed');
    }
    for (let cut = 0; cut < whole.length; cut += 7) expect(() => read(whole.subarray(0, cut))).toThrow();
    expect(() => read(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow('more than was signed');
    const claims = Buffer.from(whole);
    claims[200] = (claims[200] ?? 0) ^ 1;
    expect(() => read(claims)).toThrow();
  });

  test('of another gateway, of another role’s key, of the future or without an end is none', () => {
    expect(() => read(made({ gateway: 'segw-busan-1' }))).toThrow('for segw-busan-1');
    expect(() => read(made({ by: station }))).toThrow('no decision key');
    expect(() => read(made({ issuedAtMs: NOW + 2 * HOUR_MS }))).toThrow('clocks is wrong');
    expect(() => read(made({ lifeMs: 25 * HOUR_MS }))).toThrow('without an end');
    expect(() => read(made({ type: 'femtopki-feed+jws' }))).toThrow('no femtopki-snapshot+jws');
  });
});

describe('the keeper of snapshots', () => {
  const decideAt = (keeper: ReturnType<typeof keeperOf>, unit = {}) => {
    const { fqdn, address } = { ...UNIT, ...unit };
    return keeper.decide({ certificateDer: leaf.der, identity: fqdn, address });
  };
  let leaf: Party;
  beforeAll(async () => {
    leaf = await certify(`CN=${FQDN}`, ca, { serialHex: SERIAL, dns: FQDN });
  });

  test('answers from what it fetched, also after a restart, until its end; then SNAPSHOT_STALE', async () => {
    let now = NOW;
    const bytes = () => made();
    expect(decideAt(keeperOf({ bytes }))).toMatchObject({ verdict: 'deny', reasons: ['SNAPSHOT_STALE'] });
    await fetched(keeperOf({ bytes, now: () => now }));
    const keeper = keeperOf({ bytes, now: () => now });
    expect(decideAt(keeper)).toMatchObject({ verdict: 'permit', reasons: [] });
    expect(decideAt(keeper).ttlSeconds).toBeLessThanOrEqual(3_600);
    now = NOW + HOUR_MS + 1_000;
    expect(decideAt(keeper)).toMatchObject({ verdict: 'deny', reasons: ['SNAPSHOT_STALE'] });
    expect(decideAt(keeperOf({ bytes, now: () => now }))).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
    now = NOW - 2 * HOUR_MS;
    expect(decideAt(keeperOf({ bytes, now: () => now }))).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
  });

  test('takes none that is older than one seen, by position or by time, not even laid on the disk', async () => {
    const [older, newer] = [made({ position: '1:100', issuedAtMs: NOW - 30_000 }), made({ position: '1:200' })];
    let bytes = older;
    await fetched(keeperOf({ bytes: () => bytes }));
    cpSync(join(dir, 'snapshot.bin'), join(dir, 'old.bin'));
    bytes = newer;
    await fetched(keeperOf({ bytes: () => bytes }));
    const said: string[] = [];
    const keeper = keeperOf({ bytes: () => older, said });
    await fetched(keeper);
    expect(said.join()).toMatch(/older than what was seen before/);
    expect(decideAt(keeper)).toMatchObject({ verdict: 'permit' });
    cpSync(join(dir, 'old.bin'), join(dir, 'snapshot.bin'));
    expect(decideAt(keeperOf({ bytes: () => newer }))).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
  });

  test('takes no answer with another nonce', async () => {
    const keeper = keeperOf({ bytes: () => made({ nonce: 'ff'.repeat(16) }) });
    await fetched(keeper);
    expect(decideAt(keeper)).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
  });

  test('denies whom the feed or a CRL has named since, also after a restart, until a snapshot knows of it', async () => {
    let position = '1:100';
    const bytes = () => made({ position });
    const keeper = keeperOf({ bytes });
    await fetched(keeper);
    const entry = { issuer: 'cd'.repeat(20), serial: '01', unit: FQDN };
    keeper.deny([{ ...entry, position: '1:99', event: 'revoked' }]);
    keeper.deny([{ ...entry, position: '1:101', event: 'released' }]);
    expect(decideAt(keeper)).toMatchObject({ verdict: 'permit' });
    keeper.deny([{ ...entry, position: '1:102', event: 'held' }]);
    keeper.deny([{ ...entry, position: '1:103', event: 'released' }]);
    expect(decideAt(keeper)).toMatchObject({ verdict: 'deny', reasons: ['CERT_REVOKED'] });
    // The last line was cut off by a crash.
    const file = join(dir, 'denied-since.jsonl');
    writeFileSync(file, '{"position":', { flag: 'a' });
    const again = keeperOf({ bytes });
    expect(decideAt(again)).toMatchObject({ verdict: 'deny', reasons: ['CERT_REVOKED'] });
    position = '1:104';
    await fetched(again);
    expect(decideAt(again)).toMatchObject({ verdict: 'permit' });
    expect(readFileSync(file, 'utf8')).toBe('');
    expect(decideAt(keeperOf({ bytes, isListed: true }))).toMatchObject({ reasons: ['CERT_REVOKED'] });
  });

  test('a torn file, or one that a gap in the feed has made worthless, is not used', async () => {
    const bytes = () => made();
    const keeper = keeperOf({ bytes });
    await fetched(keeper);
    keeper.forgetBefore('1:100');
    expect(decideAt(keeper)).toMatchObject({ verdict: 'permit' });
    keeper.forgetBefore('2:1');
    expect(decideAt(keeper)).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
    expect(decideAt(keeperOf({ bytes }))).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
    rmSync(dir, { recursive: true });
    dir = mkdtempSync(join(tmpdir(), 'fp-snap-'));
    await fetched(keeperOf({ bytes }));
    truncateSync(join(dir, 'snapshot.bin'), made().length - 1);
    expect(decideAt(keeperOf({ bytes }))).toMatchObject({ reasons: ['SNAPSHOT_STALE'] });
  });

  test('looks at the certificate itself: its name, its life, its issuer', async () => {
    const bytes = () => made();
    const keeper = keeperOf({ bytes });
    await fetched(keeper);
    expect(decideAt(keeper, { fqdn: '00005e005318.femto.hanbit.example' }).reasons).toContain('ID_MISMATCH');
    const late = keeperOf({ bytes, now: () => NOW + 2 * 86_400_000 });
    expect(decideAt(late).verdict).toBe('deny');
    const stranger = await certify(`CN=${FQDN}`, root, { serialHex: SERIAL, dns: FQDN });
    expect(keeper.decide({ certificateDer: stranger.der, identity: FQDN, address: UNIT.address })).toMatchObject({
      reasons: ['UNKNOWN_ISSUER'],
    });
  });
});

interface Options {
  readonly bytes: () => Buffer;
  readonly now?: () => number;
  readonly isListed?: boolean;
  readonly said?: string[];
}

/** The nonce is the server's to repeat: it is put into whatever is made without one. */
function keeperOf({ bytes, now = () => NOW, isListed = false, said = [] }: Options) {
  return makeSnapshotKeeper({
    config: { gateway: GATEWAY, stateDir: dir, snapshotSeconds: 300 },
    api: { snapshot: async (nonce: string) => withNonce(bytes(), nonce) },
    trust: makeTrust({ rootPem: root.pem, intermediatesPem: ca.pem, now: () => NOW }),
    shelf: {
      find: (certificate: { issuer: string }) =>
        certificate.issuer === 'CN=Services CA' ? { issuer: ISSUER, isListed } : null,
    },
    log: (text: string) => void said.push(text),
    now,
  });
}

/** One round of its loop. */
async function fetched(keeper: { run(signal: AbortSignal): Promise<void> }): Promise<void> {
  const stopping = new AbortController();
  const running = keeper.run(stopping.signal);
  await new Promise((done) => setImmediate(() => setImmediate(done)));
  stopping.abort();
  await running;
}

interface Made {
  readonly gateway?: string;
  readonly by?: Party;
  readonly type?: string;
  readonly nonce?: string;
  readonly position?: string;
  readonly issuedAtMs?: number;
  readonly lifeMs?: number;
}

const makings = new WeakMap<Buffer, Made>();

function withNonce(bytes: Buffer, nonce: string): Buffer {
  const { nonce: own = nonce, ...rest } = makings.get(bytes) ?? {};
  return made({ ...rest, nonce: own });
}

/** As the head of the server's snapshot.ts describes it. */
function made(options: Made = {}): Buffer {
  const { gateway = GATEWAY, by = decision, type = 'femtopki-snapshot+jws', nonce, position = '1:100' } = options;
  const { issuedAtMs = NOW - 1_000, lifeMs = HOUR_MS } = options;
  const key = (...parts: (string | Buffer)[]) => {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest().subarray(0, 16);
  };
  const unit = (fqdn: string, line: number, ...serials: string[]) => {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(line);
    const heads = serials.map((serial) => key(Buffer.from(ISSUER, 'hex'), Buffer.from(serial, 'hex')));
    return Buffer.concat([key(fqdn), number, ...heads, ...(heads.length === 1 ? [Buffer.alloc(16)] : [])]);
  };
  const units = Buffer.concat(
    [
      unit(FQDN, 4711, SERIAL, serialAt(NOW - 2 * HOUR_MS, 2)),
      ...[1, 2, 3, 4, 5].map((n) => unit(`unit-${n}.femto.hanbit.example`, n, serialAt(0, n))),
    ].sort(Buffer.compare),
  );
  const prefix = (family: number, bits: number, address: number[], line: number, isAuthoritative = 1) => {
    const record = Buffer.alloc(24);
    Buffer.from([family, bits, isAuthoritative]).copy(record);
    Buffer.from(address).copy(record, 4);
    record.writeUInt32BE(line, 20);
    return record;
  };
  const v6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0x10];
  const prefixes = Buffer.concat([
    prefix(6, 47, v6, 4711),
    prefix(4, 25, [198, 51, 100, 0], 4711),
    prefix(4, 24, [198, 51, 100, 0], 9),
    prefix(4, 24, [203, 0, 113, 0], 4711, 0),
  ]);
  const described = (block: Buffer, recordBytes: number) => ({
    count: block.length / recordBytes,
    recordBytes,
    sha256: createHash('sha256').update(block).digest('hex'),
  });
  const claims = {
    version: 1,
    gateway,
    nonce: nonce ?? '',
    position,
    issuedAt: new Date(issuedAtMs).toISOString(),
    validUntil: new Date(issuedAtMs + lifeMs).toISOString(),
    units: described(units, 52),
    prefixes: described(prefixes, 24),
  };
  const jws = Buffer.from(jwsBy(by, { type, text: JSON.stringify(claims) }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(jws.length);
  const bytes = Buffer.concat([length, jws, units, prefixes]);
  makings.set(bytes, options);
  return bytes;
}

function read(bytes = made()) {
  const trust = makeTrust({ rootPem: root.pem, intermediatesPem: ca.pem, now: () => NOW });
  return readSnapshot(bytes, { trust, gateway: GATEWAY, now: NOW });
}
