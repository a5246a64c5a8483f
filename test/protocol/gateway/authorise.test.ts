import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { NetworkRule } from '../../../src/lifecycle/registry/index.js';
import { type GeoDatabases, openGeoDatabases } from '../../../src/platform/net/geo-databases.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { type ActiveUnit, type AuthoriseTalk, authoriseTalk } from '../../support/authorise-talk.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';
import { ASNS, COUNTRIES, mmdb } from '../../support/mmdb.js';

/** Of requirements section 9: own network, rival at home, foreign hoster. */
const [OWN, RIVAL, FOREIGN] = ['198.51.100.100', '203.0.113.7', '203.0.113.200'] as const;
const HOME_ONLY: readonly NetworkRule[] = [
  { name: 'no-asn', action: 'deny', asn: 'any' },
  { name: 'own-asn', action: 'allow', asn: 64_496 },
  { name: 'abroad', action: 'deny', country: 'any' },
  { name: 'home', action: 'allow', country: 'KR' },
];

let world: GatewayWorld;
let talk: AuthoriseTalk;
let gateway: CurlCredential & { id: number; name: string };
let geo: GeoDatabases;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fp-geo-'));
  put('asn.mmdb', ASNS);
  put('country.mmdb', COUNTRIES);
  geo = await openGeoDatabases({
    asnFile: join(dir, 'asn.mmdb'),
    countryFile: join(dir, 'country.mmdb'),
    ageMaxDays: 45,
    clock: systemClock,
    onChange: () => undefined,
  });
  world = await startGatewayWorld({ geo });
  gateway = await world.addGateway('segw-gangnam-1');
  talk = authoriseTalk(world, gateway);
});
afterEach(() => {
  expect(world.internal).toEqual([]);
});
afterAll(async () => {
  geo.close();
  await world.close();
  rmSync(dir, { recursive: true });
});

function put(name: string, entries: Parameters<typeof mmdb>[0], builtAt = new Date()): void {
  writeFileSync(join(dir, `${name}.new`), mmdb(entries, { type: 'Test', builtAt }));
  renameSync(join(dir, `${name}.new`), join(dir, name));
}

let count = 0;
/** A unit on its own /32 of the operator's network. */
const unitAtHome = (region?: string): Promise<ActiveUnit> => {
  count += 1;
  return talk.activeUnit(`198.51.100.${count}/32`, region);
};
const decisions = async (unit: ActiveUnit) =>
  (
    await world.db.pool.query(
      'SELECT verdict, reasons, policy_version AS "policyVersion", host(address) AS address FROM decision WHERE unit_id = $1 ORDER BY id',
      [unit.id],
    )
  ).rows;

describe('authorise at the gateway port (AUZ-1)', () => {
  test('permits a unit at home at every stage, signed, with a life, and confirms its certificate once', async () => {
    const unit = await unitAtHome();
    for (const stage of ['ike', 'registration', 'config']) {
      expect(await talk.decide(unit, { stage })).toMatchObject({
        version: 1,
        verdict: 'permit',
        reasons: [],
        ttlSeconds: 900,
        unit: unit.fqdn,
        gateway: gateway.name,
        stage,
      });
    }
    expect(await world.ledgerKinds(unit)).toEqual(expect.arrayContaining(['lineage.confirmed']));
    expect((await decisions(unit)).map(({ verdict }) => verdict)).toEqual(['permit', 'permit', 'permit']);
  });

  test('lists every reason: a revoked unit under another name, on another line, abroad, with another’s cell', async () => {
    const [unit, other] = [await unitAtHome(), await unitAtHome()];
    await talk.policy(HOME_ONLY);
    await world.addLine('foreign', '203.0.113.201/32');
    await world.core.revocation.hold({
      selection: { by: 'unit', unitId: unit.id },
      reason: 'certificateHold',
      note: 'moving house',
      actor: 'person:kim',
      personId: null,
    });
    expect(
      await talk.decide({ ...unit, fqdn: other.fqdn, address: '203.0.113.201' }, { cell: '00101-77' }),
    ).toMatchObject({
      verdict: 'deny',
      ttlSeconds: 0,
      reasons: [
        ...['CERT_REVOKED', 'ID_MISMATCH', 'DEVICE_SUSPENDED', 'LINE_MISMATCH', 'CELL_MISMATCH'],
        ...['NET_ASN', 'NET_COUNTRY'],
      ],
    });
    await talk.policy([]);
  });

  test('the cell that the unit holds is no mismatch', async () => {
    const unit = await unitAtHome();
    await world.db.pool.query(`INSERT INTO cell (id, unit_id) VALUES ('00101-4711', $1)`, [unit.id]);
    expect(await talk.decide(unit, { stage: 'registration', cell: '00101-4711' })).toMatchObject({ verdict: 'permit' });
    expect((await talk.decide(unit, { stage: 'registration', cell: '00101-4712' })).reasons).toEqual(['CELL_MISMATCH']);
  });

  test('many who ask at once are each answered for themselves, and each answer is on record', async () => {
    const units = await Promise.all(Array.from({ length: 6 }, () => unitAtHome()));
    const [lost = units[0] as ActiveUnit] = units;
    await world.core.revocation.reportLost({ unitId: lost.id, note: 'stolen', actor: 'person:kim', personId: null });
    const before = await world.db.pool.query('SELECT count(*)::int AS n FROM decision');
    const answers = await Promise.all(
      Array.from({ length: 36 }, (_none, index) => {
        const unit = units[index % 6] as ActiveUnit;
        return talk.decide(unit).then(({ verdict, unit: name }) => [name, verdict]);
      }),
    );
    for (const [index, answer] of answers.entries()) {
      const unit = units[index % 6] as ActiveUnit;
      expect(answer).toEqual([unit.fqdn, unit.id === lost.id ? 'deny' : 'permit']);
    }
    const after = await world.db.pool.query('SELECT count(*)::int AS n FROM decision');
    expect(after.rows[0].n - before.rows[0].n).toBe(36);
  });

  test('a body that is none, an unreadable certificate or address: refused, and nothing is decided', async () => {
    const unit = await unitAtHome();
    for (const changes of [
      { certificate: Buffer.alloc(64, 0x30).toString('base64') },
      { certificate: 'A'.repeat(40_000) },
      { address: '198.51.100' },
      { address: '198.051.100.7' },
      { nonce: 'short' },
      { stage: 'all' },
      { identity: 'x'.repeat(254) },
      { more: 1 },
    ]) {
      const { status, body } = await talk.ask(unit, changes);
      expect([changes, status, body.code]).toEqual([changes, 400, 'BAD_REQUEST']);
    }
    expect(await decisions(unit)).toEqual([]);
  });
});

describe('where a unit comes from (NET-1, NET-3)', () => {
  test('foreign is NET_COUNTRY, another operator NET_ASN, and a version decides from its commit on', async () => {
    const unit = await unitAtHome();
    await world.db.pool.query('DELETE FROM line_prefix WHERE line_id = $1', [unit.lineId]);
    const before = await talk.decide({ ...unit, address: FOREIGN });
    expect(before).toMatchObject({ verdict: 'permit', reasons: ['NET_UNKNOWN'] });
    const version = await talk.policy(HOME_ONLY);
    expect(await talk.decide({ ...unit, address: OWN })).toMatchObject({ verdict: 'permit', reasons: ['NET_UNKNOWN'] });
    expect((await talk.decide({ ...unit, address: RIVAL })).reasons).toEqual(['NET_ASN', 'NET_UNKNOWN']);
    expect((await talk.decide({ ...unit, address: FOREIGN })).reasons).toEqual([
      'NET_ASN',
      'NET_COUNTRY',
      'NET_UNKNOWN',
    ]);
    await talk.policy([{ name: 'abroad', action: 'deny', country: 'ZZ' }]);
    expect((await talk.decide({ ...unit, address: FOREIGN })).reasons).toEqual(['NET_COUNTRY', 'NET_UNKNOWN']);
    expect((await decisions(unit)).map(({ policyVersion }) => policyVersion)).toEqual([
      expect.anything(),
      version,
      version,
      version,
      version + 1,
    ]);
    await talk.policy([]);
  });

  test('restricted: signed, with a life, on record in the ledger, and it confirms nothing', async () => {
    const unit = await unitAtHome('busan');
    await talk.policy([
      { name: 'busan', action: 'restrict', cidr: '198.51.100.0/24', region: 'busan', events: ['ike'] },
    ]);
    expect(await talk.decide(unit)).toMatchObject({ verdict: 'restricted', reasons: ['NET_CIDR'], ttlSeconds: 900 });
    expect(await world.ledger(unit, 'admission.restricted')).toMatchObject([{ networkRules: ['busan'] }]);
    expect(await world.ledgerKinds(unit)).not.toContain('lineage.confirmed');
    expect(await talk.decide(unit, { stage: 'config' })).toMatchObject({ verdict: 'permit' });
    await talk.policy([]);
  });

  test('IPv4 in an IPv6 spelling is the IPv4 address; what a header says is nobody’s address', async () => {
    const unit = await unitAtHome();
    await talk.policy([{ name: 'rival', action: 'deny', cidr: '203.0.113.0/25' }]);
    for (const address of [
      `::ffff:${unit.address}`,
      `::FFFF:c633:64${Number(unit.address.split('.')[3]).toString(16).padStart(2, '0')}`,
    ]) {
      expect(await talk.decide({ ...unit, address })).toMatchObject({ verdict: 'permit', address: unit.address });
    }
    expect((await talk.decide({ ...unit, address: `::ffff:${RIVAL}` })).reasons).toContain('NET_CIDR');
    const headers = [`X-Forwarded-For: ${RIVAL}`, `Forwarded: for=${RIVAL}`, `X-Real-IP: ${RIVAL}`];
    expect(await talk.decide(unit, { headers })).toMatchObject({ verdict: 'permit', address: unit.address });
    const v6 = await talk.activeUnit('2001:db8:10::/48');
    expect(await talk.decide({ ...v6, address: '2001:0DB8:0010:0000::1' })).toMatchObject({
      verdict: 'permit',
      address: '2001:db8:10::1',
    });
    await talk.policy([]);
  });

  test('an old database is NET_UNKNOWN, which lets in or not as the policy says, until it is replaced', async () => {
    const unit = await unitAtHome();
    const rules: NetworkRule[] = [{ name: 'abroad', action: 'deny', country: 'ZZ' }];
    await talk.policy(rules);
    put('country.mmdb', COUNTRIES, new Date(Date.now() - 46 * 86_400_000));
    await geo.reload();
    expect(await talk.decide(unit)).toMatchObject({ verdict: 'permit', reasons: ['NET_UNKNOWN'] });
    await talk.policy(rules, { ike: 'deny' });
    expect(await talk.decide(unit)).toMatchObject({ verdict: 'deny', reasons: ['NET_UNKNOWN'] });
    put('country.mmdb', COUNTRIES);
    await geo.reload();
    expect(await talk.decide(unit)).toMatchObject({ verdict: 'permit', reasons: [] });
    await talk.policy([]);
  });
});

describe('a unit that moves (NET-2)', () => {
  const order = (unit: ActiveUnit, line: string, lifeSeconds = 3_600) =>
    talk.relocations.order({
      serialNumber: unit.serialNumber,
      line,
      lifeSeconds,
      reason: 'ticket 4711',
      actor: 'person:kim',
    });
  const newLine = async (name: string, prefix: string): Promise<string> => {
    await world.addLine(name, prefix);
    return prefix.split('/')[0] ?? '';
  };

  test('without an order: LINE_MISMATCH; with one: in, on its new line, once', async () => {
    const unit = await unitAtHome();
    const address = await newLine('new-house', '198.51.100.200/32');
    expect((await talk.decide({ ...unit, address })).reasons).toEqual(['LINE_MISMATCH']);
    await order(unit, 'new-house');
    expect((await talk.decide({ ...unit, address }, { keyProved: false })).reasons).toEqual(['LINE_MISMATCH']);
    expect(await talk.decide({ ...unit, address })).toMatchObject({ verdict: 'permit', reasons: [] });
    expect(await talk.decide({ ...unit, address })).toMatchObject({ verdict: 'permit', reasons: [] });
    expect((await talk.decide(unit)).reasons).toEqual(['LINE_MISMATCH']); // the old house is somebody else's now
    expect(await world.ledgerKinds(unit)).toEqual(
      expect.arrayContaining(['relocation.ordered', 'relocation.spent', 'line.released', 'line.bound']),
    );
    expect(await talk.relocations.list({ serialNumber: unit.serialNumber, limit: 5 })).toMatchObject([
      { state: 'spent' },
    ]);
  });

  test('an order that is over, or for another line, moves nobody', async () => {
    const unit = await unitAtHome();
    const address = await newLine('late-house', '198.51.100.201/32');
    await newLine('third-house', '198.51.100.202/32');
    await order(unit, 'late-house');
    await world.db.pool.query(
      `UPDATE relocation_order SET created_at = now() - interval '2 h', expires_at = now() - interval '1 h' WHERE unit_id = $1`,
      [unit.id],
    );
    expect((await talk.decide({ ...unit, address })).reasons).toEqual(['LINE_MISMATCH']);
    await order(unit, 'third-house');
    expect((await talk.decide({ ...unit, address })).reasons).toEqual(['LINE_MISMATCH']);
  });

  test('two orders, one to an occupied line, one for a lost unit: refused; an older one of a unit now lost is worth nothing', async () => {
    const [unit, neighbour] = [await unitAtHome(), await unitAtHome()];
    const address = await newLine('fourth-house', '198.51.100.203/32');
    const { rows } = await world.db.pool.query<{ name: string }>('SELECT name FROM line WHERE id = $1', [
      neighbour.lineId,
    ]);
    await expect(order(unit, rows[0]?.name ?? '')).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await order(unit, 'fourth-house');
    await expect(order(unit, 'fourth-house')).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await expect(order(neighbour, 'fourth-house')).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await world.core.revocation.reportLost({ unitId: unit.id, note: 'stolen', actor: 'person:kim', personId: null });
    expect((await talk.decide({ ...unit, address })).reasons).toEqual(['CERT_REVOKED', 'DEVICE_LOST', 'LINE_MISMATCH']);
    await expect(order(unit, 'third-house')).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      facts: { state: 'LOST' },
    });
    expect(await talk.relocations.list({ serialNumber: unit.serialNumber, limit: 5 })).toMatchObject([
      { state: 'open' },
    ]);
  });
});

describe('who knocks without being known (AUZ-2)', () => {
  test('40 attempts of strangers are one alarm with 40 members, whatever each shows', async () => {
    const units = await Promise.all([unitAtHome(), unitAtHome()]);
    const attempts = Array.from({ length: 40 }, (_none, index) => {
      const unit = units[index % 2] as ActiveUnit;
      // Another maker's certificate in form, by no CA of ours: the bootstrap certificate of our own maker.
      return talk.decide({ ...unit, certificate: unit.bootstrap.der, address: `203.0.113.${index}` });
    });
    for (const { verdict, reasons } of await Promise.all(attempts)) {
      expect([verdict, reasons]).toEqual(['deny', expect.arrayContaining(['UNKNOWN_ISSUER'])]);
    }
    const { rows } = await world.db.pool.query(
      `SELECT a.state, a.attempts, (SELECT count(*)::int FROM decision d WHERE d.alarm_id = a.id) AS members
       FROM unknown_alarm a`,
    );
    expect(rows).toEqual([{ state: 'open', attempts: 40, members: 40 }]);
    expect(world.gatewayAlarms).toHaveLength(1);
    const { rows: entries } = await world.db.pool.query(
      `SELECT count(*)::int AS n FROM ledger_inbox WHERE kind = 'unknown-alarm.opened'`,
    );
    expect(entries).toEqual([{ n: 1 }]);
    expect((await talk.decide(units[0])).verdict).toBe('permit');
  });

  test('one address that tries and tries gets the same answer, is counted, and is kept sixty times a minute', async () => {
    const unit = await unitAtHome();
    const try_ = (address: string) => talk.decide({ ...unit, certificate: unit.bootstrap.der, address });
    const members = async (address: string): Promise<number> =>
      (await world.db.pool.query('SELECT 1 FROM decision WHERE address = $1', [address])).rowCount ?? 0;
    const { rows: before } = await world.db.pool.query('SELECT attempts FROM unknown_alarm');
    const answers = await Promise.all(Array.from({ length: 150 }, () => try_('203.0.113.201')));
    for (const { verdict, reasons } of answers) expect([verdict, reasons]).toEqual(['deny', answers[0]?.reasons]);
    // Sixty of each minute that they came in: of one, or of two where the clock passed one meanwhile.
    const kept = await members('203.0.113.201');
    expect([kept >= 60, kept <= 120]).toEqual([true, true]);
    await try_('203.0.113.202');
    expect(await members('203.0.113.202')).toBe(1);
    const { rows: after } = await world.db.pool.query('SELECT attempts FROM unknown_alarm');
    expect(after[0].attempts - before[0].attempts).toBe(151);
  });
});

test('a state that may be older than 5 s decides nothing: 503, and nothing is written (rules 5.3)', async () => {
  const unit = await unitAtHome();
  world.stopHeart();
  await world.db.pool.query(`UPDATE heartbeat SET at = at - interval '5.1 seconds'`);
  const { status, headers, body } = await talk.ask(unit);
  expect([status, body.code]).toEqual([503, 'RETRY_LATER']);
  expect(headers).toMatch(/^retry-after: 1\r?$/im);
  expect(await decisions(unit)).toEqual([]);
  await world.db.pool.query('DELETE FROM heartbeat');
  expect((await talk.ask(unit)).status).toBe(503);
});
