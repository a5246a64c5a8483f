import { randomBytes } from 'node:crypto';
import { wireAdmission } from '../../../src/apps/wire-admission.js';
import { type Core, wireCore } from '../../../src/apps/wire-core.js';
import { type EnrolRooms, wireEnrol } from '../../../src/apps/wire-enrol.js';
import { ledgerConsumers } from '../../../src/apps/worker-consumers.js';
import { consumeLedger } from '../../../src/jobs/consume-ledger.js';
import {
  type AskingGateway,
  type Authorise,
  makeAuthorise,
  makeSessionDesk,
  type SessionDesk,
} from '../../../src/lifecycle/admission/index.js';
import { sessionStore } from '../../../src/lifecycle/admission/session-store.pg.js';
import { certificateReader } from '../../../src/lifecycle/issuance/certificate-reader.pg.js';
import { type Issuance, makeIssuance } from '../../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../../src/lifecycle/issuance/issuance-store.pg.js';
import { loadHierarchy } from '../../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../../src/lifecycle/registry/issuer-store.pg.js';
import { beatHeart } from '../../../src/platform/db/heartbeat.pg.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { cursors } from '../../../src/platform/ledger/cursors.pg.js';
import { makeSequencer } from '../../../src/platform/ledger/sequencer.pg.js';
import { createLogger } from '../../../src/platform/log.js';
import { NO_GEO } from '../../../src/platform/net/geo-databases.js';
import { freshDatabase } from '../../../test/support/database.js';
import type { SoftwareCa } from './software-ca.js';
import { GATEWAYS } from './step.js';

/** One enrol-server, one gateway-server and one worker over a database of their own, with a clock in the player's hand. */
export interface Range {
  readonly clock: { nowMs: number; now(): Date };
  readonly core: Core;
  readonly rooms: EnrolRooms;
  readonly issuance: Issuance;
  readonly authorise: Authorise;
  readonly desk: SessionDesk;
  readonly gateways: readonly AskingGateway[];
  /** An ACTIVE unit with its line, prefix and cell. */
  addUnit(): Promise<RangeUnit>;
  /** Numbers the ledger and lets the worker's consumers read it. */
  work(): Promise<void>;
  verdictOf(unitId: number): Promise<UnitVerdict>;
  close(): Promise<void>;
}

export interface RangeUnit {
  readonly id: number;
  readonly serialNumber: string;
  readonly fqdn: string;
  readonly cell: string;
  readonly lineId: number;
  /** First of the sixteen addresses of its line. */
  readonly homeFirst: number;
}

export interface UnitVerdict {
  readonly state: string;
  /** `<grade> <code>`, each once. */
  readonly evidence: readonly string[];
}

export const AWAY_ADDRESS = '172.16.0.9';
export const NOWHERE_ADDRESS = '203.0.113.77';

export async function openRange({ hierarchy, signer }: SoftwareCa): Promise<Range> {
  const db = await freshDatabase();
  const clock = { nowMs: Date.now(), now: () => new Date(clock.nowMs) };
  const core = wireCore(transactorOf(db.pool), clock);
  await core.transactor.run((tx) => loadHierarchy({ issuers: issuerStore }, tx, hierarchy, clock.now()));
  await db.pool.query(WORLD);
  const { rows: gateways } = await db.pool.query<{ machineId: number; name: string }>(ADD_GATEWAYS, [GATEWAYS]);
  const alarm = (): void => undefined;
  const issuance = makeIssuance({
    ...core,
    store: issuanceStore,
    certificates: certificateReader,
    signer,
    operator: 'Hanbit Mobile',
    urlsOf: ({ label }) => ({
      crlUrl: `http://s/${label}.crl`,
      ocspUrl: 'http://s/ocsp',
      caUrl: `http://s/${label}.cer`,
    }),
    // The clock is moved on purpose.
    clockGuard: { check: () => undefined },
    ledgerBacklogSeconds: async () => 0,
    alarm,
    options: { flushDelayMs: 0 },
  });
  const rooms = wireEnrol(core, { issuance, nonceKey: randomBytes(32), preissueAllowed: false, alarm });
  const onTrouble = (error: unknown): never => {
    throw error;
  };
  const leases = makeLeases(core.transactor);
  const sequencer = makeSequencer({ transactor: core.transactor, leases });
  const consumers = ledgerConsumers(core, createLogger({ name: 'fuzz', level: 'silent' }));
  // Authorise answers only while the primary's pulse is heard (rules 5.3).
  const beat = (): Promise<unknown> => core.transactor.run(beatHeart);
  await beat();
  const beats = setInterval(() => void beat().catch(() => undefined), 1_000);
  let units = 0;
  return {
    clock,
    core,
    rooms,
    issuance,
    authorise: makeAuthorise(wireAdmission(core, { geo: NO_GEO, alarm, onTrouble })),
    desk: makeSessionDesk({ ...core, db: core.transactor, sessions: sessionStore }),
    gateways,
    addUnit: async () => {
      const n = ++units;
      const homeFirst = n * 16;
      const prefix = `${addressOf(homeFirst)}/28`;
      const { rows } = await db.pool.query<Omit<RangeUnit, 'homeFirst'>>(ADD_UNIT, [n, hierarchy.realm, prefix]);
      const [unit] = rows;
      if (unit === undefined) throw new Error('no unit was made');
      return { ...unit, homeFirst };
    },
    work: async () => {
      const lease = await leases.acquire('fuzz', 'fuzz', 60_000);
      if (lease === null) throw new Error('the lease is held by another');
      while ((await sequencer.sequenceOnce(lease)).taken > 0);
      for (const consumer of consumers) while (await consumeLedger({ ...core, cursors }, consumer));
    },
    verdictOf: async (unitId) => {
      const { rows } = await db.pool.query<UnitVerdict>(
        `SELECT u.state, coalesce(array_agg(DISTINCT e.grade || ' ' || e.code) FILTER (WHERE e.id IS NOT NULL), '{}') AS evidence
         FROM unit u LEFT JOIN evidence e ON e.unit_id = u.id WHERE u.id = $1 GROUP BY u.id`,
        [unitId],
      );
      const [verdict] = rows;
      if (verdict === undefined) throw new Error('the unit is gone');
      return verdict;
    },
    close: async () => {
      clearInterval(beats);
      await issuance.close();
      await rooms.refusals.close();
      await db.drop();
    },
  };
}

/** The n-th address of 10.0.0.0/8. */
export function addressOf(n: number): string {
  return `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
}

const WORLD = `
  INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now());
  INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
  VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, now());
  INSERT INTO line (name, region) VALUES ('L-away', 'busan'), ('L-cgnat', '');
  INSERT INTO line_prefix (prefix, line_id, authoritative, valid_from)
  SELECT p.prefix::cidr, l.id, p.sure, now() - interval '1 day' FROM line l
  JOIN (VALUES ('L-away', '172.16.0.0/16', true), ('L-cgnat', '100.64.0.0/10', false)) AS p(name, prefix, sure) USING (name)`;

const ADD_GATEWAYS = `
  INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at)
  SELECT 'gateway', 'segw-' || n, 'approved', '\\x00', decode(lpad(n::text, 64, '0'), 'hex'), 'fuzz', now()
  FROM generate_series(1, $1::int) n RETURNING id AS "machineId", name`;

/** Twenty units a model: what gateways alone may bring about is limited by model, too. */
const ADD_UNIT = `
  WITH place AS (
    INSERT INTO line (name, region) VALUES ('L-' || $1::int, 'seoul') RETURNING id
  ), prefix AS (
    INSERT INTO line_prefix (prefix, line_id, valid_from) SELECT $3::cidr, id, now() - interval '1 day' FROM place
  ), made AS (
    INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, line_id)
    SELECT 1, 1, 'SN-' || $1, lpad(to_hex($1), 12, '0'), 'SN-' || $1, lpad(to_hex($1), 12, '0') || '.' || $2::text, 'M-' || ($1 / 20),
      'ACTIVE', now(), id FROM place RETURNING id, serial_number, fqdn, line_id
  ), cell AS (
    INSERT INTO cell (id, unit_id) SELECT '00101-' || lpad(to_hex($1), 7, '0'), id FROM made RETURNING id
  )
  SELECT made.id, serial_number AS "serialNumber", fqdn, line_id AS "lineId", cell.id AS cell FROM made, cell`;
