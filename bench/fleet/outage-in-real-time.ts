import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Drill, verdict } from '../drills/drill.js';
import { judgeReturn } from './judge-return.js';
import { OcspSlices, SLICE } from './ocsp-slices.js';
import { type OutageWorld, type OutageWorldOptions, pemOf, startOutageWorld } from './outage-world.js';
import { returnFleet } from './return-fleet.js';
import { cmpUnit, estUnit, type ReturningUnit, restUnit } from './returning-unit.js';

/** Of the units one in ten speaks EST, and one in ten CMP. */
const OTHER_LANGUAGES = 10;
const EST_IS = 1;
const CMP_IS = 2;
/** Twice the rate comes, so that half of them hear when to come again. */
const ARRIVALS_PER_RATE = 2;
/** In its first seconds everybody's code is cold. */
const WARM_MS = 8_000;
const SLICES_MAX = 5;
const P99_TIMES_MAX = 2;

export interface OutageSettings extends OutageWorldOptions {
  readonly withinMs: number;
  /** Part of the units that must have run out meanwhile. */
  readonly expiredShare: number;
}

type Report = Parameters<Drill['run']>[0];

/** An installation stands still for days by its own clock, and real units come back to it over TLS. */
export async function inRealTime(report: Report, settings: OutageSettings): Promise<void> {
  const { count, perSecond, withinMs } = settings;
  const world = await startOutageWorld(settings);
  try {
    const place = { port: world.statusPort, dir: world.dir, issuerPem: pemOf(world.hierarchy, 'device-ca-1') };
    // Another certificate for each question: as many slices as there are certificates and time for.
    const questions = SLICE.perSecond * SLICE.seconds;
    const slices = Math.max(
      1,
      Math.min(SLICES_MAX, Math.floor(count / perSecond / 30), Math.floor(count / questions / 2)),
    );
    const ocsp = new OcspSlices(place, world.seeds);
    const idle = await ocsp.ask(slices);
    const began = world.now();
    const [returned, busy] = await Promise.all([
      returnFleet(unitsOf(world), {
        arriveWithinMs: (count / perSecond / ARRIVALS_PER_RATE) * 1_000,
        random: randomBytes,
        patienceMs: withinMs,
        onRenewed: (done) => void (done % 100 === 0 && process.stderr.write(`\r${done} of ${count} `)),
      }),
      sleep(WARM_MS).then(() => ocsp.ask(slices)),
    ]);
    process.stderr.write('\n');
    for (const [words, times] of Object.entries(returned.troubles)) process.stderr.write(`${times} × ${words}\n`);
    const { renewed, turnedAway, triesMax } = returned;
    report(
      verdict(
        `${count} units come back over TLS, ${turnedAway} times told to come again, nobody more than ${triesMax - 1} times`,
        'reference femtocell, EST, CMP, two enrol-servers',
        `${count} renewed, 0 refused`,
        `${renewed} renewed, ${count - renewed} refused`,
      ),
    );
    const unconfirmed = world.seeds.filter((_seed, index) => languageOf(index, world) === EST_IS).length;
    const expiredAtLeast = Math.floor(count * settings.expiredShare);
    await judgeReturn(report, world, { ...settings, began, expiredAtLeast, unconfirmed });
    const good = `p99 within ${P99_TIMES_MAX} times, 0 failed`;
    const times = busy.p99Ms / idle.p99Ms;
    const failed = idle.failed + busy.failed;
    const figures = `p99 ${busy.p99Ms} ms (p50 ${busy.p50Ms}), idle ${idle.p99Ms} ms (p50 ${idle.p50Ms}), medians of ${slices} slices`;
    report(
      verdict(
        `OCSP at ${SLICE.perSecond}/s while units renew: ${figures}`,
        'POST, each about another certificate',
        good,
        times <= P99_TIMES_MAX && failed === 0 ? good : `${times.toFixed(1)} times, ${failed} failed`,
      ),
    );
  } finally {
    await world.close();
  }
}

function unitsOf({ servers, seeds, hierarchy }: OutageWorld): ReturningUnit[] {
  const chainPem = pemOf(hierarchy, 'device-ca-1');
  return seeds.flatMap((seed, index) => {
    const server = servers[index % servers.length];
    if (server === undefined) return [];
    const language = languageOf(index, { servers });
    if (language === EST_IS) return [estUnit(server, seed)];
    return [language === CMP_IS ? cmpUnit(server, seed) : restUnit(server, seed, chainPem)];
  });
}

/** Each server hears all of them. */
function languageOf(index: number, { servers }: Pick<OutageWorld, 'servers'>): number {
  return Math.floor(index / servers.length) % OTHER_LANGUAGES;
}
