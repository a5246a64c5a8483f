import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import type { World } from '../../src/apps/story/world.js';
import { certifyGateway, type Lab, type LabGateway, type LabHost, openLab } from '../../test/lab/lab.js';
import { FOREIGN, letInHomeOnly, mapIn } from '../../test/lab/networks.js';
import { type ToldInstallation, toldInstallation } from '../../test/support/told-installation.js';
import { type Drill, verdict } from './drill.js';

/** Its strongSwan looks at no revocation: what it refuses, our word refuses. */
const CARELESS_GATEWAY = 'segw-busan-1';
const HOME = '198.51.100.7';
/** On somebody else's line, in another district; and abroad. */
const STREET = '192.0.2.66';
const YEARS_LATER = '+1642d';
const CELLS = Array.from({ length: 7 }, (_, n) => `001-01-000010${n + 1}`);
const PATIENCE_MS = 30_000;

/** D1: a unit that was lost years ago comes back in a car. */
export const lostReturns: Drill = {
  name: 'D1',
  summary:
    'a lost unit returns after 4.5 years, seven cells, a foreign address: denied from the first attempt, one case',
  run: async (report) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));
    const clockFile = join(dir, 'clock');
    writeFileSync(clockFile, '+0\n');
    const told = await toldInstallation(mapIn(dir));
    let lab: Lab | undefined;
    try {
      const { world } = told;
      lab = await labOf(told, dir, clockFile);
      const [strict, careless] = lab.gateways as [LabGateway, LabGateway];
      for (const gateway of lab.gateways) await gateway.startConnector();
      const [home, street, abroad] = [HOME, STREET, FOREIGN].map(lab.host) as [LabHost, LabHost, LabHost];
      const echoes = await home.echoes();
      await within(async () => {
        if (!(await home.isUp(strict))) await home.connect(strict);
        return echoes.count() > 5;
      });
      const passing = echoes.count() > 5 ? 'packets pass' : 'nothing passes';
      report(verdict('The unit serves at home', 'strongSwan, UDP', 'packets pass', passing));
      await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'missing at the customer’s']);
      const isCut = await within(async () => !(await home.isUp(strict)));
      report(verdict('It is reported lost', 'strongSwan', 'cut', isCut ? 'cut' : 'still up'));

      for (const [where, host] of [
        ['abroad', abroad],
        ['in another district', street],
      ] as const) {
        const got = await tried(host, strict);
        report(verdict(`It connects ${where}, for the first time since`, 'strongSwan', REFUSED, got));
      }
      const first = await tried(abroad, careless);
      const wanted = 'cut: CERT_REVOKED, DEVICE_LOST, NET_ASN, NET_COUNTRY, NET_UNKNOWN';
      report(verdict('Abroad, at a gateway that looks at no CRL', 'strongSwan, UDP', wanted, first));
      const elsewhere = await tried(street, careless);
      const line = 'cut: CERT_REVOKED, DEVICE_LOST, LINE_MISMATCH';
      report(verdict('In another district, at the same gateway', 'strongSwan, UDP', line, elsewhere));
      writeFileSync(clockFile, `${YEARS_LATER}\n`);
      report(verdict('Four and a half years later', 'strongSwan', REFUSED, await tried(abroad, strict)));
      writeFileSync(clockFile, '+0\n');

      const answers: string[] = [];
      for (const [n, cell] of CELLS.entries()) {
        const address = n % 2 === 0 ? FOREIGN : STREET;
        const { text } = await careless.mayConfigure(world.path('unit.pem'), address, cell);
        answers.push(/^deny .*DEVICE_LOST/.test(text) ? 'denied' : text.trim());
      }
      const denied = answers.every((word) => word === 'denied') ? 'seven times denied' : answers.join('; ');
      report(verdict('It registers with seven cell identities', 'the HeMS example', 'seven times denied', denied));

      await within(async () => (await seenCells(world)).length === CELLS.length);
      report(verdict('The case', 'femtopki unit show', 'LOST, 1 case, lost-unit-seen', await caseOf(world)));
      const cells = (await seenCells(world)).join(' ');
      report(verdict('The case lists the cells', 'femtopki case show', CELLS.join(' '), cells));
      report(
        verdict('The case lists the districts', 'femtopki case show', 'busan gangnam', await seenDistricts(world)),
      );
    } finally {
      await lab?.close();
      await told.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

const REFUSED = 'refused by strongSwan';

async function labOf(told: ToldInstallation, dir: string, clockFile: string): Promise<Lab> {
  const { world, installation } = told;
  await told.tellUntil('machines');
  // Given to units in this order: the first to this one, the second to a neighbour, and the others to nobody.
  for (const cell of CELLS) await world.cli(['cell', 'add', cell, '--segw', '203.0.113.1']);
  await told.tellUntil('activation');
  await told.another();
  await certifyGateway(world, CARELESS_GATEWAY);
  await world.cli(['line', 'prefix', world.line, `${HOME}/32`]);
  await world.cli(['line', 'add', 'L-elsewhere', '--region', 'busan', '--prefix', `${STREET}/32`]);
  await letInHomeOnly(world);
  const { status, gateway } = installation.config.listen;
  return openLab({
    world,
    dir,
    ports: { status: status.port, gateway: gateway.port },
    gateways: [GATEWAY, CARELESS_GATEWAY],
    careless: [CARELESS_GATEWAY],
    hosts: [HOME, STREET, FOREIGN],
    clockFile,
  });
}

async function tried(host: LabHost, gateway: LabGateway): Promise<string> {
  const said = gateway.said().length;
  const echoes = await host.echoes();
  try {
    if (!(await host.connect(gateway)).established) return REFUSED;
    if (!(await within(async () => !(await host.isUp(gateway))))) return 'still up';
    if (echoes.count() > 0) return 'packets passed';
    const why = /: cut: (?:denied: )?(.*)/.exec(gateway.said().slice(said))?.[1] ?? 'nothing said';
    // What charon's cache lost in that moment is shown again.
    return why.includes('the next try will be clear') ? tried(host, gateway) : `cut: ${why}`;
  } finally {
    await echoes.stop();
  }
}

async function caseOf(world: World): Promise<string> {
  const { state, cases } = (await world.cli(['unit', 'show', world.serialNumber])) as {
    state: string;
    cases: { kind: string }[];
  };
  return `${state}, ${cases.length} case, ${cases.map(({ kind }) => kind).join(', ')}`;
}

async function seen(world: World): Promise<{ cell: string | null; district: string | null }[]> {
  const { cases } = (await world.cli(['unit', 'show', world.serialNumber])) as { cases: { id: number }[] };
  const [first] = cases;
  if (first === undefined) return [];
  const shown = await world.cli(['case', 'show', String(first.id)]);
  return shown['seen'] as { cell: string | null; district: string | null }[];
}

async function seenCells(world: World): Promise<string[]> {
  return [...new Set((await seen(world)).flatMap(({ cell }) => cell ?? []))].sort();
}

async function seenDistricts(world: World): Promise<string> {
  return [...new Set((await seen(world)).flatMap(({ district }) => district ?? []))].sort().join(' ');
}

async function within(is: () => Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + PATIENCE_MS; !(await is()); await sleep(50)) if (Date.now() > end) return false;
  return true;
}
