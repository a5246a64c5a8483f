/**
 * Drill D9: the power goes at six points of a renewal, many times, and each time the unit must come back by itself with
 * one generation more: none stuck, none quarantined, not even a soft displacement. The unit is the reference agent on a
 * flash that loses what was not synced; a cut freezes it where it stands and closes its connections, so that no line of
 * its code runs afterwards, as after a SIGKILL.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { readPins } from '../../src/agent/check-server.js';
import { type EnrolClient, makeEnrolClient } from '../../src/agent/enrol-client.js';
import { CUT_POINTS, type CutPoint, type FemtocellDeps, step } from '../../src/agent/femtocell.js';
import { factoryState, loadState, saveState, type UnitState } from '../../src/agent/unit-state.js';
import { readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import type { DeviceWorld } from './device-world.js';
import { type Flash, makeFlash } from './flash.js';

/** An enrolment service and what can be asked about it afterwards. */
export interface PowerCutTarget {
  /** e.g. `https://localhost:8443` */
  readonly enrolUrl: string;
  /** Where its name leads; null = resolve it. */
  readonly address: string | null;
  readonly servicesRootPem: string;
  readonly accessRootPem: string;
  /** A unit with its factory identity and a code. */
  newUnit(): Promise<{ name: string; keyPem: string; certificatePem: string; code: string }>;
  /** What went wrong in the record: entries about forks, and units that are not ACTIVE. */
  verdicts(names: readonly string[]): Promise<{ forks: number; notActive: number }>;
  /** Serial of the head of the unit's lineage, hex. */
  headSerial(name: string): Promise<string>;
}

export interface PowerCutReport {
  readonly runs: number;
  readonly perPoint: Readonly<Record<CutPoint, { runs: number; stuck: number }>>;
  readonly stuck: number;
  readonly quarantined: number;
  readonly forks: number;
  /** Units whose certificate is not the head on record. */
  readonly astray: number;
  readonly seconds: number;
}

export interface PowerCutOptions {
  readonly target: PowerCutTarget;
  /** Renewals cut at each point. */
  readonly perPoint: number;
  readonly points?: readonly CutPoint[];
  /** Units renewed side by side; default 8. */
  readonly units?: number;
  /** Called every hundred runs. */
  readonly report?: (done: number, of: number) => void;
}

export async function runPowerCuts(options: PowerCutOptions): Promise<PowerCutReport> {
  const { target, perPoint, points = CUT_POINTS } = options;
  const started = performance.now();
  const rigs = await Promise.all(Array.from({ length: options.units ?? 8 }, () => makeRig(target)));
  const perPointCounts = Object.fromEntries(CUT_POINTS.map((point) => [point, { runs: 0, stuck: 0 }])) as Record<
    CutPoint,
    { runs: number; stuck: number }
  >;
  // Every unit meets every point, one after another, so that a cut may also follow a cut.
  const queue = Array.from({ length: perPoint * points.length }, (_, at) => points[at % points.length] as CutPoint);
  const total = queue.length;
  let done = 0;
  await Promise.all(
    rigs.map(async (rig) => {
      for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
        const count = perPointCounts[point];
        count.runs += 1;
        if (!(await rig.renewWithCut(point))) count.stuck += 1;
        done += 1;
        if (done % 100 === 0) options.report?.(done, total);
      }
    }),
  );
  const names = rigs.map(({ name }) => name);
  const { forks, notActive } = await target.verdicts(names);
  const heads = await Promise.all(names.map((name) => target.headSerial(name)));
  return {
    runs: done,
    perPoint: perPointCounts,
    stuck: Object.values(perPointCounts).reduce((sum, { stuck }) => sum + stuck, 0),
    quarantined: notActive,
    forks,
    astray: rigs.filter((rig, at) => rig.serial() !== heads[at]).length,
    seconds: (performance.now() - started) / 1_000,
  };
}

interface Rig {
  readonly name: string;
  /** True when the unit came back by itself with one generation more. */
  renewWithCut(point: CutPoint): Promise<boolean>;
  serial(): string;
}

const STEPS_MAX = 12;

async function makeRig(target: PowerCutTarget): Promise<Rig> {
  const { name, keyPem, certificatePem, code } = await target.newUnit();
  const flash = makeFlash(Math.random);
  saveState(flash.mount(), factoryState({ keyPem, certificatePem }));
  await powerOn(target, flash, (deps) => untilSettled(deps, 1, code));
  const generation = (): number => stateOf(flash).current?.generation ?? 0;
  return {
    name,
    renewWithCut: async (point) => {
      const wanted = generation() + 1;
      await cutAt(target, flash, point);
      return powerOn(target, flash, (deps) => untilSettled(deps, wanted));
    },
    serial: () => {
      const [block] = pemBlocks(stateOf(flash).current?.certificatePem ?? '');
      return block === undefined ? '' : readCertificate(block.der).serial.toString('hex');
    },
  };
}

function stateOf(flash: Flash): UnitState {
  const state = loadState(flash.mount());
  if (state === null) throw new Error('the unit lost its state');
  return state;
}

function clientOf(target: PowerCutTarget): EnrolClient {
  return makeEnrolClient(target.enrolUrl, {
    pins: readPins(target),
    now: () => new Date(),
    address: target.address,
  });
}

/** Renews until the point, and there the power goes: the promise below is left behind for ever. */
async function cutAt(target: PowerCutTarget, flash: Flash, point: CutPoint): Promise<void> {
  const client = clientOf(target);
  await new Promise<void>((gone, fail) => {
    const deps: FemtocellDeps = {
      files: flash.mount(),
      client,
      accessRoot: readPins(target).accessRoot,
      now: () => new Date(),
      random: randomBytes,
      atPoint: async (reached) => {
        if (reached !== point) return;
        // Sometimes the server is at work already, sometimes the request is still in a buffer.
        if (reached.endsWith('-sent')) await sleep(Math.random() * 20);
        client.vanish();
        flash.cut();
        gone();
        await new Promise(() => undefined);
      },
    };
    step(deps, { renewNow: true }).then(
      (result) => fail(new Error(`the renewal ended as ${result.did} (${result.code}) before ${point}`)),
      fail,
    );
  });
}

async function powerOn<T>(target: PowerCutTarget, flash: Flash, work: (deps: FemtocellDeps) => Promise<T>): Promise<T> {
  return work({
    files: flash.mount(),
    client: clientOf(target),
    accessRoot: readPins(target).accessRoot,
    now: () => new Date(),
    random: randomBytes,
  });
}

/** Steps as the unit's own loop takes them, without its long sleeps. */
async function untilSettled(deps: FemtocellDeps, generation: number, code?: string): Promise<boolean> {
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const state = loadState(deps.files);
    if (state?.pending === null && state.current?.isConfirmed === true && state.current.generation === generation) {
      return true;
    }
    const isBehind = state?.pending === null && state.current?.isConfirmed === true;
    const result = await step(deps, {
      ...(code === undefined ? {} : { code }),
      // The first point comes before anything was kept: the unit simply renews anew.
      renewNow: isBehind && state.current?.generation === generation - 1,
    });
    if (result.did === 'refused' || result.did === 'reactivate') return false;
    if (result.did === 'waiting') await sleep(Math.min(result.waitSeconds, 3) * 1_000);
  }
  return false;
}

/** The drill against a {@link DeviceWorld}. */
export function powerCutTarget(world: DeviceWorld): PowerCutTarget {
  return {
    enrolUrl: `https://localhost:${world.port}`,
    address: '127.0.0.1',
    servicesRootPem: world.servicesRootPem,
    accessRootPem: world.accessRootPem,
    newUnit: async () => {
      const unit = await world.addUnit();
      return {
        name: unit.serialNumber,
        keyPem: unit.bootstrapKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        certificatePem: unit.bootstrapPem,
        code: await world.grant(unit),
      };
    },
    verdicts: async (names) => {
      const subjects = names.map((name) => `unit:${name}`);
      const { rows } = await world.db.pool.query<{ forks: number; not_active: number }>(
        `SELECT (SELECT count(*)::int FROM ledger_inbox WHERE kind = 'lineage.forked' AND subject = ANY($1)) AS forks,
           (SELECT count(*)::int FROM unit WHERE serial_number = ANY($2) AND state <> 'ACTIVE') AS not_active`,
        [subjects, names],
      );
      return { forks: rows[0]?.forks ?? -1, notActive: rows[0]?.not_active ?? -1 };
    },
    headSerial: async (name) => {
      const { rows } = await world.db.pool.query<{ serial: Buffer }>(
        `SELECT s.serial FROM lineage_slot s JOIN unit u ON u.id = s.unit_id
         WHERE u.serial_number = $1 AND s.state IN ('pending', 'confirmed') ORDER BY s.generation DESC LIMIT 1`,
        [name],
      );
      return rows[0]?.serial.toString('hex') ?? '';
    },
  };
}
