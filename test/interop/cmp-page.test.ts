/** docs/cmp.md says what is true: its commands are run as they stand, a unit's in its own directory, a person's beside it. */
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { TOLERANCES } from '../../src/lifecycle/registry/index.js';
import { startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import { type OperatorShell, operatorShell } from '../support/operator-shell.js';
import { pageCommands } from '../support/page-commands.js';
import { type MakerLine, type MakerWorld, makerWorld } from './maker-world.js';

let world: MakerWorld;
let shell: OperatorShell;
let line: MakerLine;

beforeAll(async () => {
  const cmp = await startCmpWorld();
  world = makerWorld(cmp);
  const { core, db } = cmp.world;
  shell = await operatorShell(core, { dbUrl: db.url, macKey: cmp.macKey });
  await world.addMaker('Garam Celltech', '0a01');
  const dn = '/O=Garam Celltech';
  line = await world.addLine({ maker: 'Garam Celltech', model: 'FC-200', dn, key: 'ec', believed: false });
});
afterAll(async () => {
  await shell.close();
  await world.close();
});

const commands = (...headings: readonly string[]): string =>
  ['Before the first message', ...headings].map((heading) => pageCommands('cmp.md', heading)).join('\n');

/** One script in a unit's flash memory, with what its factory left there. */
async function runAsUnit(
  who: { readonly id: number; readonly serialNumber: string; readonly lineId: number },
  files: Readonly<Record<string, string>>,
  script: string,
): Promise<string> {
  const { cmp } = world;
  const flash = join(cmp.world.dir, `flash-${who.serialNumber}`);
  mkdirSync(flash, { recursive: true });
  for (const root of ['services-root.pem', 'access-root.pem'])
    copyFileSync(join(cmp.world.dir, root), join(flash, root));
  for (const [name, file] of Object.entries(files)) copyFileSync(file, join(flash, name));
  const { rows } = await cmp.world.db.pool.query<{ name: string }>('SELECT name FROM line WHERE id = $1', [who.lineId]);
  const text = script
    .replaceAll('localhost:8081', `127.0.0.1:${cmp.first.plainPort}`)
    .replaceAll('localhost:8443', `localhost:${cmp.first.tlsPort}`)
    .replaceAll('SHB-24-00817', who.serialNumber)
    .replaceAll('L-100', rows[0]?.name ?? '');
  const run = await runClient('bash', ['-euo', 'pipefail', '-c', `PATH=${shell.binDir}:$PATH; cd ${flash}\n${text}`]);
  expect([run.code, run.text]).toEqual([0, expect.any(String)]);
  return run.text;
}

const LIFE = ['Renew', 'Ask', 'Revoke'];
const LIFE_SAID = /received IP[\s\S]+received KUP[\s\S]+(received GENP[\s\S]+){4}received RP/;

describe('the commands of docs/cmp.md', () => {
  test('with a bootstrap certificate: activate, renew, ask, revoke', async () => {
    const who = await world.cmp.world.addUnit();
    const files = { 'bootstrap.pem': who.pemFile, 'bootstrap.key': who.keyFile };
    const text = await runAsUnit(who, files, commands('Activate with the bootstrap certificate', ...LIFE));
    expect(text).toMatch(LIFE_SAID);
    expect([await world.stateOf(who), await world.slotsOf(who)]).toEqual(['SUSPENDED', ['1 confirmed', '2 confirmed']]);
  });

  test('with the maker’s certificate, once two people believe its root', async () => {
    const who = await world.addUnit(line);
    await world.cmp.world.db.pool.query('ALTER SEQUENCE approval_id_seq RESTART WITH 7');
    const files = {
      'vendor.pem': who.leaf.certFile,
      'vendor.key': who.leaf.keyFile,
      'vendor-ca.pem': line.ca.certFile,
      'garam-root.pem': line.root.certFile,
    };
    const script = commands("Activate with the maker's certificate (TS 33.310)", ...LIFE);
    expect(await runAsUnit(who, files, script)).toMatch(LIFE_SAID);
    expect(await world.stateOf(who)).toBe('SUSPENDED');
  });

  test('with a shared secret: a bootstrap certificate, and an activation with it', async () => {
    const who = await world.addManifested(line);
    const [byPerson = '', byUnit = ''] = pageCommands('cmp.md', SECRET).split('REFERENCE=X');
    const told = await runAsUnit(who, {}, byPerson);
    const { reference, secret } = JSON.parse(told.slice(told.indexOf('{')));
    const script = `REFERENCE=X${byUnit}`
      .replace(/^REFERENCE=X+$/m, `REFERENCE=${reference}`)
      .replace(/^SECRET=X+$/m, `SECRET=${secret}`);
    const goOn = pageCommands('cmp.md', 'Activate with the bootstrap certificate');
    const text = await runAsUnit(who, {}, `${commands()}\n${script}\n${goOn}`);
    expect(text).toMatch(/received IP[\s\S]+received IP/);
    expect(await world.slotsOf(who)).toEqual(['1 confirmed']);
  });

  test('switches of a model', async () => {
    const who = await world.addUnit(line);
    const text = await runAsUnit(who, {}, pageCommands('cmp.md', 'What a model may do otherwise'));
    expect(text).toMatch(/garam-fc200/);
    const { tolerances } = (await world.cmp.world.core.models.list()).find(({ model }) => model === 'FC-200') ?? {};
    expect(tolerances).toEqual(new Set(['extra-certs-any-order']));
  });
});

test('the page explains every switch there is', () => {
  const page = readFileSync(new URL('../../docs/cmp.md', import.meta.url), 'utf8');
  const told = [...page.matchAll(/^\| `([a-z-]+)` \| .+ \| .+ \| .+ \|$/gm)].map(([, name]) => name);
  expect(told).toEqual([...TOLERANCES]);
});

const SECRET = 'A shared secret, where nothing better is built in';
