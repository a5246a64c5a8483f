/** What the rotation worker does with traffic and the ledger, in the test's hand. */
import { ledgerConsumers } from '../../src/apps/worker-consumers.js';
import { trafficWatch } from '../../src/apps/worker-traffic.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { readEntries } from '../../src/platform/ledger/cursors.pg.js';
import { createLogger } from '../../src/platform/log.js';
import type { GeoPlaces } from '../../src/platform/net/geo-databases.js';
import type { GatewayWorld } from './gateway-world.js';

export interface TrafficTalk {
  /** Looks at all traffic since the last look, numbers the ledger and lets detection read it. */
  look(): Promise<void>;
  /** The evidence about a subject, oldest first. */
  evidence(subject: string): Promise<EvidenceSeen[]>;
  /** What the look told people to look at. */
  readonly alarms: string[];
  stateOf(unit: { readonly id: number }): Promise<string>;
}

export interface EvidenceSeen {
  readonly code: string;
  readonly grade: string;
  readonly caseKind: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever evidence holds
  readonly facts: any;
}

export function trafficTalk(world: GatewayWorld, geo: GeoPlaces = { place: () => 'unavailable' }): TrafficTalk {
  const { core, db } = world;
  const leases = makeLeases(core.transactor);
  const alarms: string[] = [];
  const watch = trafficWatch(core, { leases, geo, alarm: (what) => alarms.push(what) });
  const [detection] = ledgerConsumers(core, createLogger({ name: 'test', level: 'silent' }));
  let seen = 0;
  return {
    alarms,
    look: async () => {
      const lease = await leases.acquire('traffic-watch', 'test', 60_000);
      if (lease === null) throw new Error('the lease on traffic is held by another');
      while (await watch(lease));
      await world.sequence();
      const entries = await readEntries(core.transactor.read, { epoch: 1, seq: seen }, 10_000);
      seen = entries.at(-1)?.seq ?? seen;
      await core.transactor.run(async (tx) => detection?.consume(tx, entries));
    },
    evidence: async (subject) => {
      const { rows } = await db.pool.query(
        `SELECT e.code, e.grade, c.kind AS "caseKind", e.facts::jsonb AS facts
         FROM evidence e LEFT JOIN incident_case c ON c.id = e.case_id WHERE e.subject = $1 ORDER BY e.id`,
        [subject],
      );
      return rows;
    },
    stateOf: async ({ id }) => {
      const { rows } = await db.pool.query<{ state: string }>('SELECT state FROM unit WHERE id = $1', [id]);
      return rows[0]?.state ?? '';
    },
  };
}
