import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readSpki } from '../../../src/x509/spki.js';
import { type CurlCredential, curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';

let world: DeviceWorld;
let unit: ReturnType<typeof curlUnit>;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = curlUnit(world.dir, world.port);
});
afterAll(() => world.close());

interface Tried {
  readonly as: CurlCredential;
  readonly code?: string;
  readonly keyFile?: string;
  readonly idempotencyKey?: string;
  readonly nonce?: string | null;
  readonly subject?: string;
}

async function activate({ as, code, keyFile, idempotencyKey = randomUUID(), nonce, subject }: Tried) {
  const key = keyFile ?? (await unit.newKey());
  const csr = await unit.csr(key, nonce === undefined ? await unit.nonce(as) : nonce, subject);
  const answer = await unit.call('POST', '/v1/activate', {
    as,
    json: { csr: await unit.base64(csr), ...(code === undefined ? {} : { code }) },
    headers: [`Idempotency-Key: ${idempotencyKey}`],
  });
  return { ...answer, keyFile: key };
}

async function activated(who: WorldUnit) {
  const code = await world.grant(who);
  const answer = await activate({ as: who, code });
  expect(answer.status).toBe(200);
  return { code, keyFile: answer.keyFile, pemFile: unit.store('op.pem', answer.body.certificate), body: answer.body };
}

const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;

describe('activation over TLS with curl and openssl (ENR-1)', () => {
  test('a unit with bootstrap key and code gets a certificate that openssl verifies, and is ACTIVE on its line', async () => {
    const who = await world.addUnit();
    const { body, pemFile } = await activated(who);
    const chain = unit.store('chain.pem', body.chain);
    const verdict = await unit.openssl(
      ...['verify', '-x509_strict', '-CAfile', join(world.dir, 'access-root.pem'), '-untrusted', chain, pemFile],
    );
    expect(verdict).toContain(': OK');
    expect(await unit.openssl('x509', '-in', pemFile, '-noout', '-ext', 'subjectAltName')).toContain(`DNS:${who.fqdn}`);
    expect(body.generation).toBe(1);
    expect(await stateOf(who)).toBe('ACTIVE');
    const { rows } = await world.db.pool.query('SELECT line_id FROM unit WHERE id = $1', [who.id]);
    expect(rows[0].line_id).toBe(who.lineId);
    expect(await world.ledgerKinds(who)).toEqual(
      expect.arrayContaining(['grant.created', 'grant.spent', 'certificate.issued', 'unit.state-changed']),
    );
  });

  test('the answer stays within 8 KiB', async () => {
    const { body } = await activated(await world.addUnit());
    expect(JSON.stringify(body).length).toBeLessThanOrEqual(8_192);
  });

  test('the bootstrap key alone, or a wrong code, gets DENIED and the record says GRANT_BAD', async () => {
    const who = await world.addUnit();
    const alone = await activate({ as: who });
    expect([alone.status, alone.body.code]).toEqual([403, 'DENIED']);
    await world.grant(who);
    const wrong = await activate({ as: who, code: 'AAAA-AAAA-AAAA-AAAA' });
    expect([wrong.status, wrong.body.code]).toEqual([403, 'DENIED']);
    expect((await world.ledger(who, 'request.refused')).map(({ code }) => code)).toEqual(['GRANT_BAD', 'GRANT_BAD']);
    expect(await stateOf(who)).toBe('BOOTSTRAPPED');
  });

  test('five wrong codes lock the grant, and then the right one is refused, too', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    for (let tries = 0; tries < 5; tries++) {
      expect((await activate({ as: who, code: '0000-0000-0000-0000' })).status).toBe(403);
    }
    expect((await activate({ as: who, code })).status).toBe(403);
    expect(await world.ledgerKinds(who)).toContain('grant.locked');
  });

  test('codes tried without the bootstrap key are not counted', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    for (let tries = 0; tries < 6; tries++) {
      const answer = await unit.call('POST', '/v1/activate', { json: { csr: 'AAAA', code: 'x' } });
      expect([answer.status, answer.body.code]).toEqual([403, 'DENIED']);
    }
    expect((await activate({ as: who, code })).status).toBe(200);
  });

  test('another unit’s code is worth nothing', async () => {
    const [owner, thief] = [await world.addUnit(), await world.addUnit()];
    const code = await world.grant(owner);
    expect((await activate({ as: thief, code })).status).toBe(403);
    expect((await activate({ as: owner, code })).status).toBe(200);
  });

  test('the same request again gets the identical certificate; the same key for another request is 409', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const idempotencyKey = randomUUID();
    const first = await activate({ as: who, code, idempotencyKey });
    const again = await activate({ as: who, code, idempotencyKey, keyFile: first.keyFile });
    expect(again.body.certificate).toBe(first.body.certificate);
    const other = await activate({ as: who, code, idempotencyKey });
    expect([other.status, other.body.code]).toEqual([409, 'BAD_REQUEST']);
    expect((await world.ledger(who, 'request.refused')).map((body) => body['code'])).toEqual(['IDEMPOTENCY_CONFLICT']);
  });

  test('a nonce is good once, and only for the credential it was given to', async () => {
    const [who, other] = [await world.addUnit(), await world.addUnit()];
    await world.grant(who);
    const missing = await activate({ as: who, nonce: null });
    const foreign = await activate({ as: who, nonce: await unit.nonce(other) });
    expect([missing.status, foreign.status]).toEqual([403, 403]);
    expect((await world.ledger(who, 'request.refused')).map(({ code }) => code)).toEqual(['NONCE_BAD', 'NONCE_BAD']);
  });

  test('the bootstrap key may not become the operational key', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const answer = await activate({ as: who, code, keyFile: who.keyFile });
    expect([answer.status, answer.body.code]).toEqual([403, 'DENIED']);
    expect((await world.ledger(who, 'request.refused')).map((body) => body['code'])).toEqual(['KEY_IN_USE']);
  });

  test('a request that names another unit is refused', async () => {
    const [who, other] = [await world.addUnit(), await world.addUnit()];
    const code = await world.grant(who);
    expect((await activate({ as: who, code, subject: `/CN=${other.fqdn}` })).status).toBe(403);
    expect((await world.ledger(who, 'request.refused')).map((body) => body['code'])).toEqual(['ID_MISMATCH']);
  });

  test('an operational certificate does not activate without a new grant', async () => {
    const who = await world.addUnit();
    const { keyFile, pemFile } = await activated(who);
    expect((await activate({ as: { keyFile, pemFile }, code: 'x' })).status).toBe(403);
  });

  test('frozen admission stops activations and nothing else', async () => {
    const [frozen, active] = [await world.addUnit(), await world.addUnit()];
    const code = await world.grant(frozen);
    const { keyFile, pemFile } = await activated(active);
    await world.db.pool.query('UPDATE installation SET admission_frozen = true');
    expect((await activate({ as: frozen, code })).status).toBe(403);
    expect((await unit.call('POST', '/v1/confirm', { as: { keyFile, pemFile } })).status).toBe(200);
    await world.db.pool.query('UPDATE installation SET admission_frozen = false');
    expect((await world.ledger(frozen, 'request.refused')).map(({ code: exact }) => exact)).toEqual([
      'ADMISSION_FROZEN',
    ]);
    expect((await activate({ as: frozen, code })).status).toBe(200);
  });
});

test('a frozen model stops its own units alone, and the freeze is in a row that every server reads', async () => {
  const [first, other] = [await world.addUnit(), await world.addUnit()];
  await world.db.pool.query(`UPDATE unit SET model = 'FC-900' WHERE id = $1`, [first.id]);
  const codes = [await world.grant(first), await world.grant(other)];
  await world.db.pool.query(`INSERT INTO model_freeze VALUES ('FC-900', 'under inspection', 'test', now())`);
  expect((await activate({ as: first, code: codes[0] ?? '' })).status).toBe(403);
  expect((await activate({ as: other, code: codes[1] ?? '' })).status).toBe(200);
  expect((await world.ledger(first, 'request.refused')).map(({ code }) => code)).toEqual(['ADMISSION_FROZEN']);
  await world.db.pool.query('DELETE FROM model_freeze');
  expect((await activate({ as: first, code: codes[0] ?? '' })).status).toBe(200);
});

describe('the line of a grant (rules 5.5)', () => {
  test('an authoritative other line is LINE_MISMATCH, a guessed one only a note', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const lineId = await world.addLine('elsewhere', '127.0.0.0/8', true);
    expect((await activate({ as: who, code })).status).toBe(403);
    expect((await world.ledger(who, 'request.refused')).map((body) => body['code'])).toEqual(['LINE_MISMATCH']);
    await world.db.pool.query('UPDATE line_prefix SET authoritative = false WHERE line_id = $1', [lineId]);
    expect((await activate({ as: who, code })).status).toBe(200);
    await world.db.pool.query('DELETE FROM line_prefix WHERE line_id = $1', [lineId]);
  });
});

describe('generation 0 (rules section 3)', () => {
  test('while generation 1 is pending, another key displaces it softly, once an hour', async () => {
    const who = await world.addUnit();
    const { code } = await activated(who);
    const second = await activate({ as: who, code });
    expect(second.status).toBe(200);
    const third = await activate({ as: who, code });
    expect([third.status, third.body.code]).toEqual([503, 'RETRY_LATER']);
    expect(third.headers).toMatch(/retry-after: \d+/i);
    const forks = await world.ledger(who, 'lineage.forked');
    expect(forks.map(({ grade }) => grade)).toEqual(['soft', 'strong']);
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('after confirmation a second live claim holds both', async () => {
    const who = await world.addUnit();
    const { code, keyFile, pemFile } = await activated(who);
    expect((await unit.call('POST', '/v1/confirm', { as: { keyFile, pemFile } })).body.state).toBe('confirmed');
    const claim = await activate({ as: who, code });
    expect([claim.status, claim.body.code]).toEqual([403, 'DENIED']);
    expect(await stateOf(who)).toBe('QUARANTINED');
    expect(await world.ledgerKinds(who)).toEqual(expect.arrayContaining(['claim.contested', 'lineage.forked']));
    expect((await unit.call('GET', '/v1/advice', { as: { keyFile, pemFile } })).status).toBe(403);
  });

  test('after confirmation the bootstrap key without the code harms nobody', async () => {
    const who = await world.addUnit();
    const { keyFile, pemFile } = await activated(who);
    await unit.call('POST', '/v1/confirm', { as: { keyFile, pemFile } });
    expect((await activate({ as: who })).status).toBe(403);
    expect((await activate({ as: who, code: 'AAAA-AAAA-AAAA-AAAA' })).status).toBe(403);
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('replacing a live head needs a second person; the replaced head coming back holds both', async () => {
    const who = await world.addUnit();
    const old = await activated(who);
    await unit.call('POST', '/v1/confirm', { as: old });
    await expect(world.grant(who)).rejects.toMatchObject({ code: 'APPROVAL_REQUIRED' });
    await expect(world.grant(who, { approvedBy: 'person:kim' })).rejects.toMatchObject({ code: 'APPROVAL_REQUIRED' });
    const code = await world.grant(who, { approvedBy: 'person:lee' });
    const renewed = await activate({ as: who, code });
    expect(renewed.status).toBe(200);
    const nonce = await unit.nonce(old);
    const csr = await unit.csr(await unit.newKey(), nonce);
    const back = await unit.call('POST', '/v1/renew', {
      as: old,
      json: {
        csr: await unit.base64(csr),
        predecessorSignature: await unit.predecessorSignature(old.keyFile, nonce, csr),
      },
      headers: [`Idempotency-Key: ${randomUUID()}`],
    });
    expect([back.status, back.body.code]).toEqual([403, 'DENIED']);
    expect(await world.ledgerKinds(who)).toContain('claim.contested');
    expect(await stateOf(who)).toBe('QUARANTINED');
  });

  test('an order for a unit is not taken by whoever holds a key that the unit left behind (rules 3.7)', async () => {
    const who = await world.addUnit();
    const old = await activated(who);
    await unit.call('POST', '/v1/confirm', { as: old });
    const nonce = await unit.nonce(old);
    const keyFile = await unit.newKey();
    const csr = await unit.csr(keyFile, nonce);
    const renewed = await unit.call('POST', '/v1/renew', {
      as: old,
      json: {
        csr: await unit.base64(csr),
        predecessorSignature: await unit.predecessorSignature(old.keyFile, nonce, csr),
      },
      headers: [`Idempotency-Key: ${randomUUID()}`],
    });
    const head = { keyFile, pemFile: unit.store('head.pem', renewed.body.certificate) };
    await unit.call('POST', '/v1/confirm', { as: head });
    await world.rooms.enrolment.createGrant({
      unitId: who.id,
      kind: 'order',
      lineId: who.lineId,
      createdBy: 'person:kim',
      approvedBy: 'person:lee',
      lifeSeconds: 86_400,
    });
    const claim = await activate({ as: old });
    expect([claim.status, claim.body.code]).toEqual([403, 'DENIED']);
    expect((await world.ledger(who, 'request.refused')).map((body) => body['code'])).toEqual(['PREDECESSOR_MISMATCH']);
    expect(await world.ledger(who, 'lineage.forked')).toMatchObject([
      { grade: 'strong', presented: { generation: 1 } },
    ]);
    // The unit itself reactivates with its last key.
    expect((await activate({ as: head })).status).toBe(200);
  });

  describe('a renewal that slips in between the verdict and the closing of the old lineage', () => {
    /** Does something once, where an activation looks up the profile: after its verdict, before its intent. */
    function inBetween(work: () => Promise<unknown>): void {
      const { registry } = world.core;
      const { profile } = registry;
      Object.assign(registry, {
        profile: async (...args: Parameters<typeof profile>) => {
          Object.assign(registry, { profile });
          await work();
          return profile(...args);
        },
      });
    }
    async function replaceable() {
      const who = await world.addUnit();
      const old = await activated(who);
      await unit.call('POST', '/v1/confirm', { as: old });
      const code = await world.grant(who, { approvedBy: 'person:lee' });
      const { rows } = await world.db.pool.query('SELECT id FROM lineage WHERE unit_id = $1', [who.id]);
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const renewal = {
        purpose: 'operational',
        unitId: who.id,
        machineId: null,
        commonName: who.fqdn,
        sanDns: who.fqdn,
        spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
        lifeSeconds: 604_800,
        revocationEpoch: 0,
        successor: { lineageId: Number(rows[0].id), generation: 2, preissued: false, displacesSlotId: null },
        actor: 'test:unit',
      } as const;
      return { who, code, renewal };
    }
    const standing = async (who: WorldUnit) =>
      (
        await world.db.pool.query(
          `SELECT count(*)::int AS n FROM certificate c WHERE c.unit_id = $1 AND c.purpose = 'operational'
             AND NOT EXISTS (SELECT 1 FROM revoked_certificate r WHERE r.issuer_id = c.issuer_id AND r.serial = c.serial)`,
          [who.id],
        )
      ).rows[0].n;

    test('recorded: its certificate ends with the lineage', async () => {
      const { who, code, renewal } = await replaceable();
      inBetween(() => world.issuance.issue(renewal));
      expect((await activate({ as: who, code })).status).toBe(200);
      expect(await standing(who)).toBe(1);
    });

    test('at the token: the lineage is not closed under it', async () => {
      const { who, code, renewal } = await replaceable();
      let release = (): void => undefined;
      const gate = new Promise<void>((done) => {
        release = done;
      });
      const token = world.token.connect('enrol');
      let pending: Promise<unknown> = Promise.resolve();
      const slow = await world.addReplica({
        signer: { sign: (requests) => gate.then(() => token.sign(requests)), close: async () => undefined },
      });
      inBetween(async () => {
        pending = slow.issuance.issue(renewal);
        const signing = `SELECT 1 FROM lineage_slot WHERE unit_id = $1 AND state = 'signing'`;
        while ((await world.db.pool.query(signing, [who.id])).rowCount === 0) await sleep(20);
      });
      expect((await activate({ as: who, code })).status).not.toBe(200);
      release();
      await pending;
      expect((await activate({ as: who, code })).status).toBe(200);
      expect(await standing(who)).toBe(1);
    });
  });
});
