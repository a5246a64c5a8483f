/** docs/cmp.md says what is true: its commands are run as they stand, in a unit's own directory. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import { runClient } from '../../support/command.js';
import type { WorldUnit } from '../../support/device-world.js';
import { pageCommands } from '../../support/page-commands.js';

let cmp: CmpWorld;

beforeAll(async () => {
  cmp = await startCmpWorld();
});
afterAll(() => cmp.close());

/** What the factory leaves on a unit, and one script in it. */
async function runAsUnit(who: WorldUnit, commands: string): Promise<string> {
  const { dir } = cmp.world;
  const flash = join(dir, `flash-${who.serialNumber}`);
  mkdirSync(flash);
  for (const name of ['services-root.pem', 'access-root.pem']) copyFileSync(join(dir, name), join(flash, name));
  copyFileSync(who.pemFile, join(flash, 'bootstrap.pem'));
  copyFileSync(who.keyFile, join(flash, 'bootstrap.key'));
  const script = commands
    .replaceAll('localhost:8081', `127.0.0.1:${cmp.first.plainPort}`)
    .replaceAll('localhost:8443', `localhost:${cmp.first.tlsPort}`);
  const { code, text } = await runClient('bash', ['-euo', 'pipefail', '-c', `cd ${flash}\n${script}`]);
  expect([code, text]).toEqual([0, expect.any(String)]);
  return text;
}

describe('the commands of docs/cmp.md', () => {
  test('with openssl: activate, renew, ask, revoke', async () => {
    const who = await cmp.world.addUnit();
    await cmp.order(who);
    const text = await runAsUnit(who, pageCommands('cmp.md', 'With openssl'));
    expect(text).toMatch(/received IP[\s\S]+received KUP[\s\S]+received GENP[\s\S]+received RP/);
    const { rows } = await cmp.world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id]);
    expect(rows).toEqual([{ state: 'SUSPENDED' }]);
  });

  test('with a shared secret: a bootstrap certificate', async () => {
    await cmp.setModel({ macAllowed: true });
    const who = await cmp.world.addUnit({ state: 'MANIFESTED' });
    await cmp.world.db.pool.query('DELETE FROM key_seen WHERE unit_id = $1', [who.id]);
    await cmp.world.db.pool.query('DELETE FROM certificate WHERE unit_id = $1', [who.id]);
    const { reference, secret } = await cmp.first.factory.createMacSecret({ unitId: who.id, actor: 'person:kim' });
    const [setUp = ''] = pageCommands('cmp.md', 'With openssl').split('\n');
    const commands = pageCommands('cmp.md', 'A shared secret, where nothing better is built in');
    const given = `REFERENCE=${reference}\nSECRET=${secret}`;
    const text = await runAsUnit(who, `${setUp}\n${given}\n${commands}\nopenssl x509 -in bootstrap.pem -noout -issuer`);
    expect(text).toContain('Bootstrap CA');
  });
});
