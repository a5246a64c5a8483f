/** One public key, one unit, for ever: twenty units with one key at two servers, and the same key in other clothes. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeRequest } from '../../src/apps/story/unit-tools.js';
import { type EnrolReplica, startEnrolReplica } from '../support/enrol-replica.js';
import { type FleetUnit, makeFleet } from '../support/fleet.js';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';

const RIVALS = 20;
const NEIGHBOURS = 4;
/** An address of no line: where the line is unknown nobody is refused for it. */
const FROM = ['--interface', '127.0.0.77'];

let told: ToldInstallation;
let replica: EnrolReplica;
let rivals: FleetUnit[];
let neighbours: FleetUnit[];
let losers: FleetUnit[];

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('machines');
  replica = await startEnrolReplica(told.world.context);
  const fleet = await makeFleet(told.world, RIVALS + NEIGHBOURS);
  rivals = fleet.slice(0, RIVALS);
  neighbours = fleet.slice(RIVALS);
}, 400_000);
afterAll(async () => {
  await replica?.close();
  await told?.close();
}, 60_000);

describe('two enrol-servers on one database', () => {
  test('give one key to one of twenty units that bring it at the same moment, and their neighbours lose nothing', async () => {
    const { world } = told;
    await newKey('shared');
    for (const unit of rivals) await request(unit, 'shared');
    for (const unit of neighbours) {
      await newKey(`${unit.name}-own`);
      await request(unit, `${unit.name}-own`);
    }
    const urls = [world.enrolUrl, replica.url];
    const everybody = [...rivals, ...neighbours];
    const answers = await Promise.all(everybody.map((unit, at) => activate(unit, urls[at % 2] ?? '')));

    const [ofRivals, ofNeighbours] = [answers.slice(0, RIVALS), answers.slice(RIVALS)];
    expect(ofNeighbours).toEqual(neighbours.map(() => '200'));
    expect(ofRivals.filter((answer) => answer === '200')).toHaveLength(1);
    expect(ofRivals.filter((answer) => answer === '403 DENIED')).toHaveLength(RIVALS - 1);
    losers = rivals.filter((_unit, at) => ofRivals[at] !== '200');
    for (const { serialNumber } of losers) expect(await refusalsOf(serialNumber)).toEqual(['KEY_IN_USE']);
    const certificates = await world.context.pool.query(
      `SELECT count(*)::int AS n FROM certificate c JOIN unit u ON u.id = c.unit_id
       WHERE c.purpose = 'operational' AND u.serial_number = ANY($1)`,
      [rivals.map(({ serialNumber }) => serialNumber)],
    );
    expect(certificates.rows).toEqual([{ n: 1 }]);
  }, 120_000);

  test.each([
    ['a compressed point', ['-conv_form', 'compressed']],
    ['a hybrid point', ['-conv_form', 'hybrid']],
    ['explicit curve parameters', ['-param_enc', 'explicit']],
  ])('refuse the same key as %s', async (_form, options) => {
    const { world } = told;
    const unit = losers.shift() as FleetUnit;
    await world.sh('openssl', 'ec', '-in', 'shared.key', ...options, '-out', `${unit.name}-odd.key`);
    await request(unit, `${unit.name}-odd`);
    const own = await world.sh('openssl', 'req', '-in', `${unit.name}-op.csr`, '-noout', '-verify');
    expect(own.stderr + own.stdout).toMatch(/verify OK/);
    expect(await activate(unit, replica.url)).toMatch(/^(403 DENIED|400 BAD_REQUEST)$/);
    expect(await refusalsOf(unit.serialNumber)).toEqual(['KEY_IN_USE', 'KEY_WEAK']);
  });

  test('activate a loser that comes back with a key of its own: its grant was not spent', async () => {
    const unit = losers.shift() as FleetUnit;
    await newKey(`${unit.name}-own`);
    await request(unit, `${unit.name}-own`);
    expect(await activate(unit, replica.url)).toBe('200');
  });
});

async function newKey(name: string): Promise<void> {
  await told.world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
}

/** `<unit>-op.csr` over that key, with a nonce for this unit in it. */
async function request(unit: FleetUnit, key: string): Promise<void> {
  const { world } = told;
  const answer = await world.curl(`${world.enrolUrl}/v1/nonce`, { as: unit.name, args: FROM });
  if (answer.status !== 200) throw new Error(answer.text);
  world.write(`${unit.name}-op.key`, world.read(`${key}.key`));
  const nonce = String(answer.json['nonce']);
  await makeRequest(world, `${unit.name}-op`, { commonName: unit.fqdn, nonce, keepKey: true });
}

let requests = 0;

async function activate(unit: FleetUnit, url: string): Promise<string> {
  const { world } = told;
  const answer = await world.curl(`${url}/v1/activate`, {
    as: unit.name,
    args: FROM,
    headers: [`Idempotency-Key: same-key-${String(++requests).padStart(16, '0')}`],
    body: { csr: world.read(`${unit.name}-op.csr`), code: unit.code },
  });
  return answer.status === 200 ? '200' : `${answer.status} ${String(answer.json['code'] ?? answer.text)}`;
}

/** The exact codes in the ledger, waiting entries included. */
async function refusalsOf(serialNumber: string): Promise<string[]> {
  const { rows } = await told.world.context.pool.query<{ code: string }>(
    `SELECT body::jsonb ->> 'code' AS code FROM (
       SELECT kind, subject, at, body FROM ledger UNION ALL SELECT kind, subject, at, body FROM ledger_inbox) AS entries
     WHERE kind = 'request.refused' AND subject = $1 ORDER BY at`,
    [`unit:${serialNumber}`],
  );
  return rows.map(({ code }) => code);
}
