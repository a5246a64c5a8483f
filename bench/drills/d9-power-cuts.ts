import { startDeviceWorld } from '../../test/support/device-world.js';
import { powerCutTarget, runPowerCuts } from '../../test/support/power-cuts.js';
import { type Drill, verdict } from './drill.js';

const PER_POINT = 1_000;

/** D9: the power goes at each of six points of a renewal, a thousand times each. */
export const powerCuts: Drill = {
  name: 'D9',
  summary: `power cut at six points of renewal × ${PER_POINT}: none stuck, none quarantined`,
  run: async (report) => {
    const world = await startDeviceWorld();
    try {
      const target = powerCutTarget(world);
      const progress = (done: number, of: number): void => void process.stderr.write(`\r${done}/${of}`);
      const outcome = await runPowerCuts({ target, perPoint: PER_POINT, report: progress });
      process.stderr.write('\n');
      const points = Object.entries(outcome.perPoint);
      for (const [point, { runs, stuck }] of points) {
        report(
          verdict(
            `The power goes at ${point}, ${runs} times`,
            'reference femtocell',
            'all came back by themselves',
            stuck === 0 && runs === PER_POINT ? 'all came back by themselves' : `${stuck} of ${runs} stuck`,
          ),
        );
      }
      report(
        verdict(
          'What the record says of them',
          'SQL',
          '0 quarantined, 0 forks, 0 astray',
          `${outcome.quarantined} quarantined, ${outcome.forks} forks, ${outcome.astray} astray`,
        ),
      );
    } finally {
      await world.close();
    }
  },
};
