import { setTimeout as sleep } from 'node:timers/promises';
import type { ActResult } from '../../src/apps/act-result.js';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { checkIssuance } from '../../test/support/check-issuance.js';
import { type IssuanceProcess, startIssuanceProcess } from '../../test/support/issuance-process.js';
import { freshSpki, type IssuanceWorld, startIssuanceWorld, type TestUnit } from '../../test/support/issuance-world.js';
import { bothServers, type ReplicatedPostgres, startReplicatedPostgres } from '../../test/support/postgres-standby.js';
import { type Drill, verdict } from './drill.js';

const UNITS = 6_000;
const CHUNK = 64;
const LANES = 8;
/** As rotation-worker looks for attempts without an end. */
const RECONCILE_EVERY_MS = 5_000;
/** What the reconciler leaves an attempt without an end, by default. */
const ATTEMPT_RESTS_MS = 60_000;
const TOKEN_AWAY_MS = 30_000;
/** How long the standby waits to be promoted: what a watcher needs to be sure. */
const PROMOTE_AFTER_MS = 3_000;
const DRAINED_WITHIN = 2;
const BY = 'rows, journal, ledger';

/** A fault, from its begin to the moment the part is there again. */
type Fault = (bulk: Bulk) => Promise<void>;

/**
 * BULK: while thousands of units are issued to, the issuing process is killed, the token is pulled for 30 s, the primary
 * database is killed and its synchronous standby takes over. Nobody is lost or served twice, and what waited meanwhile is
 * done in at most twice the time that it takes undisturbed.
 */
export const bulkFaults: Drill = {
  name: 'BULK',
  summary: 'bulk issuance through kill -9, a pulled token and a database failover: nothing lost, nothing doubled',
  run: async (report, { runs = UNITS }) => {
    const pair = await startReplicatedPostgres({ synchronous: true });
    try {
      const url = bothServers(pair);
      const pool = openPool(url, { applicationName: 'drill', connectionsMax: 12, onIdleError: () => undefined });
      const world = await startIssuanceWorld({ database: { url, pool, drop: () => pool.end() } });
      const bulk = new Bulk(world, pair);
      try {
        const idealMs = (await bulk.through(runs, async () => undefined)).tookMs;
        report(await judge('undisturbed', bulk, idealMs, { tookMs: idealMs, awayMs: 0 }));
        for (const [act, fault] of FAULTS) report(await judge(act, bulk, idealMs, await bulk.through(runs, fault)));
      } finally {
        await bulk.close();
        await world.close();
      }
    } finally {
      await pair.close();
    }
  },
};

const FAULTS: readonly (readonly [act: string, fault: Fault])[] = [
  ['the issuing process is killed with SIGKILL, and started again', (bulk) => bulk.killIssuer()],
  ['the token is pulled for 30 s', (bulk) => bulk.pullToken()],
  ['the primary database is killed; its standby takes over', (bulk) => bulk.failOver()],
];

async function judge(
  act: string,
  bulk: Bulk,
  idealMs: number,
  { tookMs, awayMs }: { tookMs: number; awayMs: number },
): Promise<ActResult> {
  const faults = await bulk.faults();
  const times = (tookMs - awayMs) / idealMs;
  const drained = times <= DRAINED_WITHIN ? `within ${DRAINED_WITHIN} times` : `${times.toFixed(1)} times`;
  const got = faults.length === 0 ? `nothing lost or doubled; drained ${drained}` : faults.slice(0, 3).join('; ');
  const seconds = `${(tookMs / 1_000).toFixed(1)} s, of which ${(awayMs / 1_000).toFixed(1)} s away`;
  return verdict(`${act} (${seconds})`, BY, `nothing lost or doubled; drained within ${DRAINED_WITHIN} times`, got);
}

/** Units of one run each want one certificate and ask until they have it. */
class Bulk {
  private issuer: IssuanceProcess | undefined;
  private readonly acknowledged = new Map<number, string>();
  private awayMs = 0;

  constructor(
    private readonly world: IssuanceWorld,
    private readonly pair: ReplicatedPostgres,
  ) {}

  /** Serves `count` fresh units; the fault comes when a third of them is served. */
  async through(count: number, fault: Fault): Promise<{ tookMs: number; awayMs: number }> {
    this.issuer ??= await startIssuanceProcess(this.world);
    const waiting = await this.world.addUnits(count);
    const until = this.acknowledged.size + count;
    const third = this.acknowledged.size + count / 3;
    this.awayMs = 0;
    const startMs = performance.now();
    const isDone = (): boolean => this.acknowledged.size >= until;
    const lanes = Array.from({ length: LANES }, () => this.lane(waiting, isDone));
    const reconciling = this.reconcileUntil(isDone);
    while (this.acknowledged.size < third) await sleep(10);
    await fault(this);
    await Promise.all(lanes);
    const tookMs = performance.now() - startMs;
    await reconciling;
    return { tookMs, awayMs: this.awayMs };
  }

  async killIssuer(): Promise<void> {
    await this.away(async () => {
      const dying = this.issuer;
      // What is under way dies with it; what comes next waits for its successor.
      this.issuer = undefined;
      dying?.child.kill('SIGKILL');
      await dying?.ended;
      this.issuer = await startIssuanceProcess(this.world);
    });
    // Nobody knows whether a signature exists for what was under way: each attempt rests a minute before it is given up.
    this.awayMs = Math.max(this.awayMs, ATTEMPT_RESTS_MS + RECONCILE_EVERY_MS);
  }

  async pullToken(): Promise<void> {
    await this.away(async () => {
      await this.world.token.stopSigner();
      await sleep(TOKEN_AWAY_MS);
      await this.world.token.startSigner();
    });
  }

  async failOver(): Promise<void> {
    await this.away(async () => {
      await this.pair.killPrimary();
      await sleep(PROMOTE_AFTER_MS);
      await this.pair.promote();
    });
  }

  /** What the rows, the journal and the ledger say against it, and every acknowledged certificate that is not there. */
  async faults(): Promise<string[]> {
    await reconcile(this.world.reconciler, { signingLimitMs: 0 });
    const living = await this.livingCertificates(null);
    const lost = [...this.acknowledged].filter(([unitId, derHex]) => !living.get(unitId)?.includes(derHex)).length;
    const doubled = [...living.values()].filter(({ length }) => length > 1).length;
    return [
      ...(lost > 0 ? [`${lost} acknowledged certificates are not there`] : []),
      ...(doubled > 0 ? [`${doubled} units have more than one living certificate`] : []),
      ...(await checkIssuance(this.world)),
    ];
  }

  async close(): Promise<void> {
    await this.issuer?.end();
  }

  private async lane(waiting: TestUnit[], isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      const { issuer } = this;
      const units = issuer === undefined ? [] : waiting.splice(0, CHUNK);
      if (issuer === undefined || units.length === 0) {
        await sleep(20);
        continue;
      }
      const outcomes = await issuer.issueMany(
        units.map((unit) => ({
          unit,
          spkiHex: freshSpki().spkiDer.toString('hex'),
          successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
        })),
      );
      const unserved = units.filter((unit, index) => {
        const { code, derHex = '' } = outcomes[index] ?? { code: 'died' };
        if (code === 'ok') this.acknowledged.set(unit.id, derHex);
        return code !== 'ok';
      });
      if (unserved.length > 0) await this.again(unserved, waiting);
    }
  }

  /** Whose answer alone was lost hears it again, as a repeated request does by its idempotency key; the others ask once more. */
  private async again(units: readonly TestUnit[], waiting: TestUnit[]): Promise<void> {
    await sleep(200);
    const ids = units.map(({ id }) => id);
    const served = await this.livingCertificates(ids).catch(() => undefined);
    for (const unit of units) {
      const [der] = served?.get(unit.id) ?? [];
      if (der === undefined) waiting.push(unit);
      else this.acknowledged.set(unit.id, der);
    }
  }

  /** @param unitIds  absent: of all @returns DER in hex, by unit */
  private async livingCertificates(unitIds: readonly number[] | null): Promise<Map<number, string[]>> {
    const { rows } = await this.world.db.pool.query<{ unit_id: number; der: Buffer }>(
      `SELECT c.unit_id, c.der FROM certificate c
       WHERE c.unit_id IS NOT NULL AND ($1::bigint[] IS NULL OR c.unit_id = ANY ($1)) AND NOT EXISTS (
         SELECT 1 FROM revoked_certificate r WHERE r.issuer_id = c.issuer_id AND r.serial = c.serial)`,
      [unitIds],
    );
    const found = new Map<number, string[]>();
    for (const { unit_id, der } of rows) found.set(unit_id, [...(found.get(unit_id) ?? []), der.toString('hex')]);
    return found;
  }

  private async reconcileUntil(isDone: () => boolean): Promise<void> {
    for (let passedMs = 0; !isDone(); passedMs += 100) {
      if (passedMs % RECONCILE_EVERY_MS === 0) await reconcile(this.world.reconciler).catch(() => undefined);
      await sleep(100);
    }
  }

  private async away(fault: () => Promise<void>): Promise<void> {
    const startMs = performance.now();
    await fault();
    this.awayMs = performance.now() - startMs;
  }
}
