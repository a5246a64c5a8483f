/** docs/est.md says what is true: its commands are run as they stand, in a unit's own directory. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { runEstPage } from '../../support/est-page.js';
import { pageCommands } from '../../support/page-commands.js';

let world: DeviceWorld;

beforeAll(async () => {
  world = await startDeviceWorld();
  await world.db.pool.query(
    `INSERT INTO unit_model (maker_id, model, label, changed_by, changed_at)
     VALUES (1, 'FC-1', 'garam-fc200', 'person:kim', now())`,
  );
});
afterAll(() => world.close());

async function runAsUnit(who: WorldUnit, commands: string): Promise<string> {
  const { code, text } = await runEstPage(world, who, commands);
  expect([code, text]).toEqual([0, expect.any(String)]);
  return text;
}

const generationsOf = async (who: WorldUnit): Promise<string[]> => {
  const { rows } = await world.db.pool.query<{ text: string }>(
    `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY id`,
    [who.id],
  );
  return rows.map(({ text }) => text);
};

describe('the commands of docs/est.md', () => {
  test('with curl and openssl: activate, renew, read the window', async () => {
    const who = await world.addUnit();
    const text = await runAsUnit(who, pageCommands('est.md', 'With curl and openssl'));
    expect(text).toMatch(/unit\.pem: OK[\s\S]+next\/unit\.pem: OK[\s\S]+"renewFrom"/);
    expect((await generationsOf(who))[1]).toMatch(/^2 /);
  });

  test('with strongSwan: trust, activate, renew', async () => {
    const who = await world.addUnit();
    const text = await runAsUnit(who, pageCommands('est.md', 'With strongSwan'));
    expect(text).toMatch(/ca\S*\.pem is the Access Root[\s\S]+next\.pem: OK/);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 pending']);
  });

  test('at a model’s own address', async () => {
    const commands = pageCommands('est.md', 'One address for each model');
    const curl = commands.split('\n').filter((line) => line.startsWith('curl'));
    expect(await runAsUnit(await world.addUnit(), curl.join('\n'))).toMatch(/^MII/);
  });
});
