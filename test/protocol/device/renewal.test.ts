import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type CurlCredential, curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';

let world: DeviceWorld;
let unit: ReturnType<typeof curlUnit>;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = curlUnit(world.dir, world.port);
  await world.db.pool.query(
    `INSERT INTO profile (name, life_seconds, renewal_mode) VALUES ('test-short', 3603, 'rekey')`,
  );
});
afterAll(() => world.close());

async function post(path: string, as: CurlCredential, json: object, idempotencyKey: string = randomUUID()) {
  return unit.call('POST', path, { as, json, headers: [`Idempotency-Key: ${idempotencyKey}`] });
}

/** A fresh unit with its first certificate, confirmed unless told otherwise. */
async function activeUnit(
  options: { confirmed?: boolean; profile?: string } = {},
): Promise<WorldUnit & { op: CurlCredential }> {
  const who = await world.addUnit(options.profile === undefined ? {} : { profile: options.profile });
  const code = await world.grant(who);
  const keyFile = await unit.newKey();
  const csr = await unit.csr(keyFile, await unit.nonce(who));
  const answer = await post('/v1/activate', who, { csr: await unit.base64(csr), code });
  expect(answer.status).toBe(200);
  const op = { keyFile, pemFile: unit.store('g1.pem', answer.body.certificate) };
  if (options.confirmed !== false) expect((await confirm(op)).status).toBe(200);
  return { ...who, op };
}

interface Renewal {
  readonly as: CurlCredential;
  readonly keyFile?: string;
  readonly idempotencyKey?: string;
  readonly nonce?: string;
  readonly signWith?: string;
}

async function renew({ as, keyFile, idempotencyKey = randomUUID(), nonce, signWith }: Renewal) {
  const key = keyFile ?? (await unit.newKey());
  const fresh = nonce ?? (await unit.nonce(as));
  const csr = await unit.csr(key, fresh);
  const json = {
    csr: await unit.base64(csr),
    predecessorSignature: await unit.predecessorSignature(signWith ?? as.keyFile, fresh, csr),
  };
  const answer = await post('/v1/renew', as, json, idempotencyKey);
  const next =
    answer.status === 200 ? { keyFile: key, pemFile: unit.store('next.pem', answer.body.certificate) } : null;
  return { ...answer, keyFile: key, next, json, idempotencyKey };
}

/** Several requests over one TLS connection. */
function keptConnection(as: CurlCredential) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: world.servicesRootPem,
    cert: readFileSync(as.pemFile),
    key: readFileSync(as.keyFile),
    servername: 'localhost',
  });
  const sockets = new Set<unknown>();
  const send = (method: string, path: string, json?: object) =>
    new Promise<{ status: number; body: Record<string, string> }>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
      const outgoing = request({ host: '127.0.0.1', port: world.port, method, path, agent, headers }, (incoming) => {
        sockets.add(incoming.socket);
        incoming.setEncoding('utf8');
        let text = '';
        incoming.on('data', (chunk: string) => {
          text += chunk;
        });
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: JSON.parse(text) }));
      });
      outgoing.once('error', reject);
      outgoing.end(json === undefined ? undefined : JSON.stringify(json));
    });
  return { send, connections: () => sockets.size, close: () => agent.destroy() };
}

const confirm = (as: CurlCredential) => unit.call('POST', '/v1/confirm', { as });
const refusals = async (who: WorldUnit) => (await world.ledger(who, 'request.refused')).map(({ code }) => code);
const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;

function must<T>(value: T | null): T {
  if (value === null) throw new Error('the renewal was refused');
  return value;
}

describe('renewal over TLS with curl and openssl (REN-2)', () => {
  test('a head brings a fresh key and gets the next generation, which openssl verifies', async () => {
    const who = await activeUnit();
    const { status, body, next } = await renew({ as: who.op });
    expect([status, body.generation]).toEqual([200, 2]);
    const chain = unit.store('chain.pem', body.chain);
    const verdict = await unit.openssl(
      ...['verify', '-CAfile', join(world.dir, 'access-root.pem'), '-untrusted', chain, must(next).pemFile],
    );
    expect(verdict).toContain(': OK');
    expect((await confirm(must(next))).body).toMatchObject({ generation: 2, state: 'confirmed' });
    expect(Date.parse(body.renewUntil)).toBeLessThan(Date.now() + 7 * 86_400_000 * 0.9);
  });

  test('confirming twice is harmless, and the advice tells generation and window', async () => {
    const who = await activeUnit();
    expect((await confirm(who.op)).status).toBe(200);
    const advice = await unit.call('GET', '/v1/advice', { as: who.op });
    expect(advice.body).toMatchObject({ generation: 1, state: 'confirmed', pickup: false });
    expect(Date.parse(advice.body.renewFrom)).toBeLessThan(Date.parse(advice.body.renewUntil));
  });

  test('a request without the old key’s signature, or with another key’s, is refused', async () => {
    const who = await activeUnit();
    const wrong = await renew({ as: who.op, signWith: await unit.newKey() });
    expect([wrong.status, wrong.body.code]).toEqual([403, 'DENIED']);
    expect(await refusals(who)).toEqual(['POP_FAIL']);
    const nonce = await unit.nonce(who.op);
    const csr = await unit.csr(await unit.newKey(), nonce);
    const none = await post('/v1/renew', who.op, { csr: await unit.base64(csr) });
    expect([none.status, none.body.code]).toEqual([400, 'BAD_REQUEST']);
  });

  test('the old key may not follow itself', async () => {
    const who = await activeUnit();
    expect((await renew({ as: who.op, keyFile: who.op.keyFile })).status).toBe(403);
    expect(await refusals(who)).toEqual(['KEY_IN_USE']);
  });

  test('another unit’s key is KEY_IN_USE and flags the caller only', async () => {
    const [who, other] = [await activeUnit(), await activeUnit()];
    expect((await renew({ as: who.op, keyFile: other.op.keyFile })).status).toBe(403);
    expect(await refusals(who)).toEqual(['KEY_IN_USE']);
    expect(await refusals(other)).toEqual([]);
    expect(await stateOf(other)).toBe('ACTIVE');
  });

  test('a bootstrap certificate does not renew', async () => {
    const who = await activeUnit();
    expect((await renew({ as: who })).status).toBe(403);
    expect(await refusals(who)).toEqual(['NOT_ACTIVATED']);
  });

  test('a replayed request is NONCE_BAD once its answer no longer stands, and never evidence', async () => {
    const who = await activeUnit();
    const first = await renew({ as: who.op });
    const replay = await post('/v1/renew', who.op, first.json, randomUUID());
    expect(replay.body.certificate).toBe(first.body.certificate);
    await confirm(must(first.next));
    const second = must((await renew({ as: must(first.next) })).next);
    await confirm(second);
    expect((await post('/v1/renew', who.op, first.json, randomUUID())).status).toBe(403);
    expect(await refusals(who)).toEqual(['NONCE_BAD']);
    expect(await stateOf(who)).toBe('ACTIVE');
  });
});

describe('lost answers (REN-3)', () => {
  test('same idempotency key and key: the identical certificate, before and after the confirmation', async () => {
    const who = await activeUnit();
    const first = await renew({ as: who.op });
    const again = await renew({ as: who.op, keyFile: first.keyFile, idempotencyKey: first.idempotencyKey });
    expect(again.body.certificate).toBe(first.body.certificate);
    await confirm(must(first.next));
    const late = await renew({ as: who.op, keyFile: first.keyFile, idempotencyKey: first.idempotencyKey });
    expect(late.body.certificate).toBe(first.body.certificate);
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('same idempotency key, other key: 409, in the record (F7)', async () => {
    const who = await activeUnit();
    const first = await renew({ as: who.op });
    const other = await renew({ as: who.op, idempotencyKey: first.idempotencyKey });
    expect([other.status, other.body.code]).toEqual([409, 'BAD_REQUEST']);
    expect(await refusals(who)).toEqual(['IDEMPOTENCY_CONFLICT']);
  });

  test('a lost pending key costs one soft displacement', async () => {
    const who = await activeUnit();
    await renew({ as: who.op });
    const second = await renew({ as: who.op });
    expect(second.status).toBe(200);
    expect((await confirm(must(second.next))).status).toBe(200);
    expect((await world.ledger(who, 'lineage.forked')).map(({ grade }) => grade)).toEqual(['soft']);
  });
});

describe('forks (REN-4)', () => {
  test('D4: a thief renews first and confirms; the genuine unit’s renewal holds both within milliseconds', async () => {
    const who = await activeUnit();
    const thief = must((await renew({ as: who.op })).next);
    await confirm(thief);
    const genuine = await renew({ as: who.op });
    expect([genuine.status, genuine.body.code]).toEqual([403, 'DENIED']);
    expect(await stateOf(who)).toBe('QUARANTINED');
    const [fork] = await world.ledger(who, 'lineage.forked');
    expect(fork).toMatchObject({ grade: 'hard', row: 'head-1, other key, head confirmed' });
    const { rows } = await world.db.pool.query(
      `SELECT count(*)::int AS held FROM revoked_certificate WHERE unit_id = $1 AND state = 'held'`,
      [who.id],
    );
    expect(rows[0].held).toBeGreaterThanOrEqual(2);
    for (const branch of [thief, who.op]) expect((await renew({ as: branch })).status).toBe(403);
  });

  test('a displaced key that is proved again is a hard fork', async () => {
    const who = await activeUnit();
    const displaced = must((await renew({ as: who.op })).next);
    await renew({ as: who.op });
    expect((await confirm(displaced)).status).toBe(403);
    expect(await stateOf(who)).toBe('QUARANTINED');
  });

  test('an old key that was proved before the competing event harms nobody', async () => {
    const who = await activeUnit();
    const body = async (nonce: string) => {
      const csr = await unit.csr(await unit.newKey(), nonce);
      const predecessorSignature = await unit.predecessorSignature(who.op.keyFile, nonce, csr);
      return { csr: await unit.base64(csr), predecessorSignature };
    };
    const winner = await body(await unit.nonce(who.op));
    // One connection for all that follows: its handshake, and its nonce, are older than the successor that arises.
    const line = keptConnection(who.op);
    const late = await body((await line.send('GET', '/v1/nonce')).body['nonce'] ?? '');
    await line.send('GET', '/v1/ca');
    const { status, body: won } = await post('/v1/renew', who.op, winner);
    expect(status).toBe(200);
    await line.send('GET', '/v1/ca');
    expect(won.generation).toBe(2);
    const answer = await line.send('POST', '/v1/renew', late);
    expect(line.connections()).toBe(1);
    expect([answer.status, answer.body.code]).toEqual([503, 'RETRY_LATER']);
    expect(await refusals(who)).toEqual(['RETRY_LATER']);
    expect(await stateOf(who)).toBe('ACTIVE');
    expect(await world.ledger(who, 'lineage.forked')).toEqual([]);
    line.close();
  });

  test('F8: two keys at once through two servers: one successor, the other is told to come again', async () => {
    const second = await world.addReplica();
    const other = curlUnit(world.dir, second.port);
    for (let round = 0; round < 5; round++) {
      const who = await activeUnit();
      const [a, b] = await Promise.all([unit.nonce(who.op), other.nonce(who.op)]);
      const bodies = await Promise.all(
        [a, b].map(async (nonce) => {
          const csr = await unit.csr(await unit.newKey(), nonce);
          const signature = await unit.predecessorSignature(who.op.keyFile, nonce, csr);
          return { csr: await unit.base64(csr), predecessorSignature: signature };
        }),
      );
      const headers = () => [`Idempotency-Key: ${randomUUID()}`];
      const answers = await Promise.all([
        unit.call('POST', '/v1/renew', { as: who.op, json: bodies[0], headers: headers() }),
        other.call('POST', '/v1/renew', { as: who.op, json: bodies[1], headers: headers() }),
      ]);
      const { rows } = await world.db.pool.query(
        `SELECT count(*)::int AS n FROM lineage_slot WHERE unit_id = $1 AND generation = 2 AND state IN ('pending', 'confirmed')`,
        [who.id],
      );
      expect(rows[0].n).toBe(1);
      expect(answers.map(({ status }) => status)).toContain(200);
      expect(await stateOf(who)).toBe('ACTIVE');
    }
  });

  test('F6: 50 identical requests through two servers get one certificate', async () => {
    const second = await world.addReplica();
    const other = curlUnit(world.dir, second.port);
    const who = await activeUnit();
    const nonce = await unit.nonce(who.op);
    const csr = await unit.csr(await unit.newKey(), nonce);
    const json = {
      csr: await unit.base64(csr),
      predecessorSignature: await unit.predecessorSignature(who.op.keyFile, nonce, csr),
    };
    const headers = [`Idempotency-Key: ${randomUUID()}`];
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        (at % 2 === 0 ? unit : other).call('POST', '/v1/renew', { as: who.op, json, headers }),
      ),
    );
    const good = answers.filter(({ status }) => status === 200);
    expect(answers.every(({ status }) => status === 200 || status === 503)).toBe(true);
    expect(good.length).toBeGreaterThan(0);
    expect(new Set(good.map(({ body }) => body.certificate)).size).toBe(1);
    const { rows } = await world.db.pool.query(
      'SELECT count(*)::int AS n FROM lineage_slot WHERE unit_id = $1 AND generation = 2',
      [who.id],
    );
    expect(rows[0].n).toBe(1);
  });
});

describe('comeback (REN-5)', () => {
  test('an expired head renews by itself inside its tier, and not from an authoritative other line', async () => {
    const who = await activeUnit({ profile: 'test-short' });
    await sleep(3_500);
    const lineId = await world.addLine('far away', '127.0.0.0/8');
    const refused = await renew({ as: who.op });
    expect([refused.status, refused.body.code]).toEqual([403, 'REACTIVATE']);
    await world.db.pool.query('DELETE FROM line_prefix WHERE line_id = $1', [lineId]);
    expect((await renew({ as: who.op })).status).toBe(200);
  });
});

describe('dormancy (LST-2)', () => {
  type Active = Awaited<ReturnType<typeof activeUnit>>;
  const isSilent = async (who: Active): Promise<boolean> =>
    (
      await world.db.pool.query<{ silent: boolean }>(
        `SELECT last_contact_at < now() - interval '28 days' AS silent FROM unit WHERE id = $1`,
        [who.id],
      )
    ).rows[0]?.silent ?? false;
  /** Renewed and confirmed, 29 days after it was last heard of. */
  const renewedLate = async (who: Active, prepare: (lineId: number) => Promise<unknown>): Promise<boolean> => {
    await world.db.pool.query(
      `UPDATE unit SET last_contact_at = now() - interval '29 days', line_id = $2 WHERE id = $1`,
      [who.id, who.lineId],
    );
    await prepare(who.lineId);
    const { next } = await renew({ as: who.op });
    expect((await confirm(must(next))).status).toBe(200);
    return isSilent(who);
  };
  const here = async (lineId: number): Promise<void> => {
    await world.db.pool.query(
      `INSERT INTO line_prefix (prefix, line_id, authoritative, valid_from) VALUES ('127.0.0.0/8', $1, true, now() - interval '1 day')`,
      [lineId],
    );
  };
  afterEach(async () => {
    await world.db.pool.query(`DELETE FROM line_prefix WHERE prefix = '127.0.0.0/8'`);
  });

  test('a renewal from home is a sign of life; from another line it is none, and the certificate is given all the same', async () => {
    expect(await renewedLate(await activeUnit(), here)).toBe(false);
    await world.db.pool.query(`DELETE FROM line_prefix WHERE prefix = '127.0.0.0/8'`);
    const other = await world.addLine('another household');
    expect(await renewedLate(await activeUnit(), () => here(other))).toBe(true);
  });

  test('from an address on no line it is none either, once the unit was known at home', async () => {
    expect(await renewedLate(await activeUnit(), async () => undefined)).toBe(false);
    const who = await activeUnit();
    const knownAtHome = (lineId: number) =>
      world.db.pool.query('UPDATE lineage_slot SET line_id = $2 WHERE unit_id = $1', [who.id, lineId]);
    expect(await renewedLate(who, knownAtHome)).toBe(true);
  });
});

describe('a certificate that has run out (rules section 4)', () => {
  test('may renew and nothing else: no confirmation, no advice, no sign of life', async () => {
    const who = await activeUnit({ confirmed: false, profile: 'test-short' });
    await sleep(3_500);
    await world.db.pool.query(`UPDATE unit SET last_contact_at = now() - interval '29 days' WHERE id = $1`, [who.id]);
    for (const answer of [await confirm(who.op), await unit.call('GET', '/v1/advice', { as: who.op })]) {
      expect([answer.status, answer.body.code]).toEqual([403, 'REACTIVATE']);
    }
    expect(await refusals(who)).toEqual(['CERT_EXPIRED', 'CERT_EXPIRED']);
    const { rows } = await world.db.pool.query(
      `SELECT s.state, u.last_contact_at < now() - interval '28 days' AS silent
       FROM unit u JOIN lineage_slot s ON s.unit_id = u.id WHERE u.id = $1`,
      [who.id],
    );
    expect(rows).toEqual([{ state: 'pending', silent: true }]);
    expect((await renew({ as: who.op })).status).toBe(200);
  });
});

describe('states', () => {
  test.each([
    ['LOST', 'DEVICE_LOST'],
    ['SUSPENDED', 'DEVICE_SUSPENDED'],
    ['RETIRED', 'DEVICE_RETIRED'],
  ])('a %s unit gets the answer of any refusal, and the record says %s', async (state, code) => {
    const who = await activeUnit();
    const nonce = await unit.nonce(who.op);
    await world.db.pool.query('UPDATE unit SET state = $2 WHERE id = $1', [who.id, state]);
    const answer = await renew({ as: who.op, nonce });
    expect([answer.status, answer.body.code]).toEqual([403, 'DENIED']);
    expect(await refusals(who)).toEqual([code]);
  });

  test('nobody who probes can tell a LOST unit from one that was never there, well-formed request or not (LST-3)', async () => {
    const [lost, deleted] = [await activeUnit(), await activeUnit()];
    await world.db.pool.query(`UPDATE unit SET state = 'LOST' WHERE id = $1`, [lost.id]);
    // A certificate of ours in no record of ours.
    await world.db.pool.query(
      `UPDATE certificate SET serial = set_byte(serial, 15, 255 - get_byte(serial, 15)) WHERE unit_id = $1`,
      [deleted.id],
    );
    for (const path of ['/v1/renew', '/v1/confirm', '/v1/advice', '/v1/nonce']) {
      const method = path === '/v1/renew' || path === '/v1/confirm' ? 'POST' : 'GET';
      const seen = await Promise.all(
        [lost, deleted].map(async ({ op }) => {
          const connection = keptConnection(op);
          const { status, body } = await connection.send(method, path, method === 'GET' ? undefined : { csr: 'AAAA' });
          connection.close();
          const { traceId, ...rest } = body;
          return { status, rest, traceIdLength: traceId?.length };
        }),
      );
      expect([path, seen[0]]).toEqual([path, seen[1]]);
      expect(seen[0]?.rest['code']).toMatch(/^(DENIED|BAD_REQUEST)$/);
    }
  });

  test('a DORMANT unit that renews is ACTIVE again', async () => {
    const who = await activeUnit();
    await world.db.pool.query(`UPDATE unit SET state = 'DORMANT' WHERE id = $1`, [who.id]);
    expect((await renew({ as: who.op })).status).toBe(200);
    expect(await stateOf(who)).toBe('ACTIVE');
  });
});
