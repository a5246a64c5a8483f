import { movedClock } from '../fleet/moved-clock.js';
import { inRealTime } from '../fleet/outage-in-real-time.js';
import { virtualStorm } from '../fleet/virtual-storm.js';
import { type Drill, verdict } from './drill.js';

const HOUR_MS = 3_600_000;
const OUTAGE_MS = 72 * HOUR_MS;
const WITHIN_MS = 4 * HOUR_MS;
const FLEET = 300_000;
const EXPIRED_AT_LEAST = 43_000;
const PER_SECOND = 60;
const REAL_UNITS = 20_480;

/** D6: three days of outage, and then a nation's fleet within minutes. */
export const outage: Drill = {
  name: 'D6',
  summary: '72 h of outage: 300,000 units in virtual time, 20,480 through real TLS under a moved clock; nobody is lost',
  run: async (report, { units = REAL_UNITS }) => {
    inVirtualTime(report);
    const clock = movedClock(OUTAGE_MS);
    if (clock === null) {
      process.stdout.write(
        'skipped: real units under a moved clock; libfaketime is missing (apt-get install faketime)\n',
      );
      return;
    }
    const expiredShare = EXPIRED_AT_LEAST / FLEET;
    const settings = {
      count: units,
      outageMs: OUTAGE_MS,
      perSecond: PER_SECOND,
      withinMs: WITHIN_MS,
      expiredShare,
      clock,
    };
    await inRealTime(report, settings);
  },
};

type Report = Parameters<Drill['run']>[0];

function inVirtualTime(report: Report): void {
  const outcome = virtualStorm({
    units: FLEET,
    outageMs: OUTAGE_MS,
    perSecond: PER_SECOND,
    servers: 2,
    sourceShare: 0.1,
    watchMs: WITHIN_MS,
  });
  const by = 'agent, windows, advice and storm gate in virtual time';
  const { due, expired, lost, notRenewed, turnedAway, triesMax } = outcome;
  const enough = `at least ${EXPIRED_AT_LEAST} expired`;
  report(
    verdict(
      `72 h pass over ${FLEET} units: ${due} due, ${expired} expired`,
      by,
      enough,
      expired >= EXPIRED_AT_LEAST ? enough : `${expired}`,
    ),
  );
  const told = `${turnedAway} times told to come again, nobody more than ${triesMax} times`;
  report(
    verdict(
      `The expired are renewed after ${minutes(outcome.allExpiredAfterSeconds)}, all after ${minutes(outcome.allDueAfterSeconds)} (${told})`,
      by,
      '0 not renewed within 4 h, 0 lost',
      `${notRenewed} not renewed within 4 h, ${lost} lost`,
    ),
  );
  const rate = `at most ${PER_SECOND}/s`;
  const most = outcome.admittedPerSecondMax;
  report(verdict(`The busiest ten seconds: ${most}/s`, by, rate, most <= PER_SECOND ? rate : `${most}/s`));
}

function minutes(seconds: number | null): string {
  return seconds === null ? 'never' : `${Math.ceil(seconds / 60)} min`;
}
