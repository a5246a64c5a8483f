import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pemBlock } from '../../../src/x509/pem.js';
import { run } from '../../support/command.js';
import { type FleetWorld, startFleetWorld } from '../../support/fleet-world.js';

let world: FleetWorld;
let dir: string;
beforeAll(async () => {
  world = await startFleetWorld();
  dir = mkdtempSync(join(tmpdir(), 'fp-keys-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true });
  await world.close();
});

const why = ['--reason', 'found on a forum', '--source', 'report 17', '-o', 'json'];
const file = (name: string, text: string | Buffer): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const block = (...args: string[]) => world.femtopki('key', 'block', ...args, ...why);

async function unitWithKey() {
  const unit = await world.addUnit();
  const key = world.newKey();
  const certificate = await world.issue({ unitId: unit.id, key });
  const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { unit, certificate, pem, hex: key.spki.spkiHash.toString('hex'), key };
}

async function tellsNothingOf(secret: string): Promise<void> {
  const { rows } = await world.db.pool.query(
    `SELECT (SELECT count(*) FROM ledger_inbox WHERE strpos(body, $1) > 0) + (SELECT count(*) FROM blocked_key
       WHERE strpos(reason || source, $1) > 0) AS n`,
    [secret],
  );
  expect(Number(rows[0]?.n)).toBe(0);
}

describe('REV-5: a compromised key, whichever way it is named', () => {
  test('a private key is tested, and only its fingerprint is kept; the unit is suspended and its certificate revoked', async () => {
    const { unit, pem, hex } = await unitWithKey();
    const { json, text } = await block(file('leaked.key', `leaked on a forum:\n${pem}`));
    expect(text).toContain(`${hex}  private-key`);
    expect(json).toMatchObject({ units: 1, certificates: 1, blockedKeys: 1 });
    expect(json['keys']).toEqual([
      expect.objectContaining({ spkiSha256: hex, state: 'blocked', certificates: 1, units: [unit.serialNumber] }),
    ]);
    const { rows } = await world.db.pool.query(
      'SELECT u.state, r.state AS status, r.reason FROM unit u JOIN revoked_certificate r ON r.unit_id = u.id WHERE u.id = $1',
      [unit.id],
    );
    expect(rows).toEqual([{ state: 'SUSPENDED', status: 'revoked', reason: 1 }]);
    const secret = pem.split('\n')[1] ?? '';
    expect(text).not.toContain(secret);
    await tellsNothingOf(secret);
    expect((await block(hex)).json).toMatchObject({ units: 0, certificates: 0, blockedKeys: 0 });
  });

  test('over curl a private key is tested on the server, and no part of it is answered or recorded', async () => {
    const { unit, pem, hex } = await unitWithKey();
    const body = JSON.stringify({ keys: [pem], reason: 'flash dump', source: 'report 18' });
    const { text } = await world.curl('operator', '/keys/block', body);
    expect(JSON.parse(text)).toMatchObject({
      keys: [{ spkiSha256: hex, shownAs: 'private-key', units: [unit.serialNumber] }],
    });
    const secret = pem.split('\n')[1] ?? '';
    expect(text).not.toContain(secret);
    await tellsNothingOf(secret);
  });

  test('certificate, request, public key and fingerprints in a list, all at once', async () => {
    const [a, b, c, d] = [await unitWithKey(), await unitWithKey(), await unitWithKey(), await unitWithKey()];
    const csr = file('unit.key', b.pem);
    run('openssl', ['req', '-new', '-key', csr, '-subj', '/', '-out', join(dir, 'unit.csr')]);
    const { json, text } = await block(
      file('unit.pem', pemBlock('CERTIFICATE', a.certificate.der)),
      join(dir, 'unit.csr'),
      file('unit.der', c.key.spki.spkiDer),
      file('list.txt', `${d.hex}\n${'ab'.repeat(32).replace(/(..)(?!$)/g, '$1:')}\n`),
    );
    expect(json).toMatchObject({ units: 4, certificates: 4, blockedKeys: 5 });
    for (const [{ hex }, shownAs] of [
      [a, 'certificate'],
      [b, 'request'],
      [c, 'public-key'],
      [d, 'fingerprint'],
    ] as const) {
      expect(text).toContain(`${hex}  ${shownAs}`);
    }
  });

  test('an encrypted private key says what to give in its place; junk is no key', async () => {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
    });
    expect((await block(file('encrypted.key', privateKey))).text).toContain(
      'Give its certificate, public key or SHA-256',
    );
    expect(await block(file('junk', 'no key at all'))).toMatchObject({ code: 2 });
  });

  test('the key of one of our own CAs is refused with the next step, and nothing of that list is blocked', async () => {
    const { unit, hex } = await unitWithKey();
    const ca = file('ca.pem', pemBlock('CERTIFICATE', world.deviceCa.certificateDer));
    const { code, text } = await block(hex, ca);
    expect([code, text]).toEqual([4, expect.stringContaining('device-ca-1')]);
    expect(text).toContain('femtopki admission freeze');
    expect(text).toContain('ceremony');
    const { rows } = await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [unit.id]);
    expect(rows).toEqual([{ state: 'ACTIVE' }]);
  });
});

describe('REV-1: one certificate, one lineage', () => {
  test('a certificate held by itself is released by two people; the approval is spent with the act and not before', async () => {
    const unit = await world.addUnit();
    const certificate = await world.issue({ unitId: unit.id, generation: 1 });
    const serial = certificate.serial.toString('hex');
    const cert = (verb: string, ...args: string[]) =>
      world.femtopki('cert', verb, serial, '--reason', 'under inspection', ...args, '-o', 'json');
    expect((await cert('hold', '--dry-run')).json).toMatchObject({ changing: { units: 1, certificates: 1 } });
    expect((await cert('hold')).json).toMatchObject({ certificates: 1 });
    expect((await cert('release')).text).toContain('APPROVAL_REQUIRED');

    const asked = (await cert('release', '--ask')).json as { id: number };
    await world.femtopki('approval', 'approve', String(asked.id), '--as', 'approver');
    // The unit is lost meanwhile: its hold is not the certificate's own any more, the act fails, the approval stays.
    await world.db.pool.query(`UPDATE unit SET state = 'LOST' WHERE id = $1`, [unit.id]);
    expect((await cert('release', '--approval', String(asked.id))).text).toContain('STATE_CONFLICT');
    await world.db.pool.query(`UPDATE unit SET state = 'ACTIVE' WHERE id = $1`, [unit.id]);
    expect((await cert('release', '--approval', String(asked.id))).json).toMatchObject({ certificates: 1 });
    expect((await cert('hold')).json).toMatchObject({ certificates: 1 });
    expect((await cert('release', '--approval', String(asked.id))).text).toContain('APPROVAL_REQUIRED');

    // A row that gives the same two signatures again is not an approval: the text was carried out.
    await world.db.pool.query(
      `INSERT INTO approval (kind, request, request_hash, selection_count, requested_by, request_signature, approved_by,
         approval_signature, state, created_at, expires_at)
       SELECT kind, request, request_hash, selection_count, requested_by, request_signature, approved_by, approval_signature,
         'approved', now(), now() + interval '1 day' FROM approval WHERE id = $1`,
      [asked.id],
    );
    expect((await cert('release', '--approval', String(asked.id + 1))).text).toContain('STATE_CONFLICT');
  });

  test('a lineage by its number: its certificates are revoked, its unit keeps its state', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
    await world.issue({ unitId: unit.id, generation: 1 });
    await world.issue({ unitId: unit.id, generation: 2 });
    const { rows } = await world.db.pool.query('SELECT id FROM lineage WHERE unit_id = $1', [unit.id]);
    const act = ['lineage', 'revoke', String(rows[0]?.id), '--reason', 'wrong profile', '-o', 'json'];
    expect((await world.femtopki(...act, '--dry-run')).json).toMatchObject({ changing: { certificates: 2 } });
    expect((await world.femtopki(...act)).json).toMatchObject({ units: 1, certificates: 2 });
  });
});
