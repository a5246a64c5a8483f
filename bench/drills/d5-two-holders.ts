import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import { certifyGateway, type Lab, type LabGateway, openLab } from '../../test/lab/lab.js';
import { toldInstallation } from '../../test/support/told-installation.js';
import { type Drill, verdict } from './drill.js';

const OTHER_GATEWAY = 'segw-busan-1';
const UNIT = '198.51.100.7';
/** On another line, and where no line is known. */
const [ELSEWHERE, SOMEWHERE] = ['192.0.2.66', '192.0.2.77'];
/** The server waits 5 s before it asks, because a unit may be moving; then each gateway looks every 2 s. */
const DEADLINE_MS = 20_000;
/** Refused = gone within a second of the permit's absence; the poll and the commands come on top. */
const REFUSED_MS = 2_000;

/** D5: key and certificate are copied to another machine. Neither where it is refused nor where it is let in does it last. */
export const twoHolders: Drill = {
  name: 'D5',
  summary: 'one key at two gateways: refused on a known line, else both asked and both cut',
  run: async (report) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));
    const told = await toldInstallation();
    let lab: Lab | undefined;
    try {
      await told.tellUntil('activation');
      const { world, installation } = told;
      await certifyGateway(world, OTHER_GATEWAY);
      await world.cli(['line', 'prefix', world.line, `${UNIT}/32`]);
      await world.cli(['line', 'add', 'L-elsewhere', '--region', 'busan', '--prefix', `${ELSEWHERE}/32`]);
      const { status, gateway: port } = installation.config.listen;
      lab = await openLab({
        world,
        dir,
        ports: { status: status.port, gateway: port.port },
        gateways: [GATEWAY, OTHER_GATEWAY],
        hosts: [UNIT, ELSEWHERE, SOMEWHERE],
      });
      const [here, there] = lab.gateways as [LabGateway, LabGateway];
      for (const gateway of lab.gateways) await gateway.startConnector();
      const [unit, refused, copy] = [lab.host(UNIT), lab.host(ELSEWHERE), lab.host(SOMEWHERE)];
      const [own, foreign, copied] = [await unit.echoes(), await refused.echoes(), await copy.echoes()];

      await unit.connect(here);
      await within(REFUSED_MS, () => own.count() > 10);
      report(verdict('The genuine unit connects on its line', 'strongSwan, UDP', 'packets pass', passes(own.count())));

      await refused.connect(there);
      const gone = await within(REFUSED_MS, async () => !(await refused.isUp(there)));
      const reason = /LINE_MISMATCH/.exec(there.said())?.[0] ?? 'no reason';
      report(
        verdict(
          'Its key and certificate connect from another line',
          'strongSwan, UDP',
          'cut: LINE_MISMATCH; nothing passes',
          `${gone ? 'cut' : 'up'}: ${reason}; ${passes(foreign.count())}`,
        ),
      );

      await copy.connect(there);
      const from = Date.now();
      await within(REFUSED_MS, () => copied.count() > 10);
      report(
        verdict('They connect from where no line is known', 'strongSwan, UDP', 'packets pass', passes(copied.count())),
      );

      const both = await within(DEADLINE_MS, async () => !(await unit.isUp(here)) && !(await copy.isUp(there)));
      const seconds = ((Date.now() - from) / 1_000).toFixed(1);
      const cut = 'both cut';
      report(verdict(`Both are alive: both are asked (${seconds} s)`, 'strongSwan', cut, both ? cut : 'still up'));
      const before = [own.count(), copied.count()];
      const sent = own.sent();
      await within(REFUSED_MS, () => own.sent() > sent + 25);
      const after = [own.count() - (before[0] ?? 0), copied.count() - (before[1] ?? 0)];
      report(verdict('They go on sending', 'UDP', '0 and 0 packets pass', `${after.join(' and ')} packets pass`));

      const shown = await world.cli(['unit', 'show', world.serialNumber]);
      const [first] = shown['cases'] as { kind: string; grade: string }[];
      const got = `${String(shown['state'])}, case ${first?.grade}`;
      report(verdict('The record says why', 'femtopki unit show', 'QUARANTINED, case hard', got));
    } finally {
      await lab?.close();
      await told.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

function passes(count: number): string {
  return count > 0 ? 'packets pass' : 'nothing passes';
}

async function within(ms: number, is: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + ms; !(await is()); await sleep(25)) if (Date.now() > end) return false;
  return true;
}
