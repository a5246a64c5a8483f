/** Revocation and CRL publication over a {@link StatusWorld}, wired as the processes wire them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LineageSlot } from '../../src/lifecycle/model/index.js';
import { makeRegistry } from '../../src/lifecycle/registry/index.js';
import { modelStore } from '../../src/lifecycle/registry/model-store.pg.js';
import { placeStore } from '../../src/lifecycle/registry/place-store.pg.js';
import { unitStore } from '../../src/lifecycle/registry/unit-store.pg.js';
import { type LineageRoom, makeRevocation, type Revocation } from '../../src/lifecycle/revocation/index.js';
import { revocationStore } from '../../src/lifecycle/revocation/revocation-store.pg.js';
import { crlPartStore } from '../../src/lifecycle/status/crl-part-store.pg.js';
import { crlStore } from '../../src/lifecycle/status/crl-store.pg.js';
import {
  type CrlPartsDeps,
  type CrlPartsPublisher,
  type CrlPublisher,
  type CrlPublisherDeps,
  makeCrlPartsPublisher,
  makeCrlPublisher,
} from '../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../src/lifecycle/status/status-changes.pg.js';
import { statusRowStore } from '../../src/lifecycle/status/status-row-store.pg.js';
import type { Clock } from '../../src/platform/clock.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import type { Transactor } from '../../src/platform/db/transaction.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import type { StatusWorld } from './status-world.js';

export interface StatusRooms {
  readonly revocation: Revocation;
  readonly crlDir: string;
  /** A publisher of its own, as another worker would have. */
  publisher(changes?: Partial<CrlPublisherDeps>): CrlPublisher;
  /** What follows it; without changes neither deltas nor shards. */
  partsPublisher(changes: Partial<CrlPartsDeps>): CrlPartsPublisher;
  remove(): void;
}

export function openStatusRooms(world: StatusWorld, clock: Clock = systemClock): StatusRooms {
  const { transactor, signer } = world;
  const crlDir = mkdtempSync(join(tmpdir(), 'fp-crl-'));
  let publishers = 0;
  return {
    revocation: openRevocation(transactor, clock),
    crlDir,
    publisher: (changes = {}) => {
      publishers += 1;
      return makeCrlPublisher({
        store: crlStore,
        changes: statusChangeReader,
        transactor,
        ledger,
        leases: makeLeases(transactor),
        signer,
        files: makeCrlDirectory(crlDir),
        clock,
        holder: `worker-${publishers}`,
        everySeconds: 3_600,
        lifeSeconds: 21_600,
        ...changes,
      });
    },
    partsPublisher: (changes) =>
      makeCrlPartsPublisher({
        store: crlPartStore,
        completes: crlStore,
        transactor,
        leases: makeLeases(transactor),
        signer,
        files: makeCrlDirectory(crlDir),
        clock,
        holder: 'parts',
        everySeconds: 3_600,
        deltas: false,
        shards: 0,
        statusUrl: 'http://127.0.0.1:8080',
        ...changes,
      }),
    remove: () => rmSync(crlDir, { recursive: true, force: true }),
  };
}

/** Revocation alone, as a process that has only the database would have it. */
export function openRevocation(transactor: Transactor, clock: Clock = systemClock): Revocation {
  return makeRevocation({
    store: revocationStore,
    statusRows: statusRowStore,
    registry: makeRegistry({ units: unitStore, places: placeStore, models: modelStore, ledger }),
    units: unitStore,
    lineages: lineageRows,
    ledger,
    transactor,
    clock,
  });
}

/** The two calls that revocation makes into the lineage room. */
const lineageRows: LineageRoom = {
  liveViewOfUnit: async (tx, unitId) => {
    const { rows } = await tx.query<{ id: number; state: string }>(
      `SELECT id, state FROM lineage WHERE unit_id = $1 AND state <> 'closed' FOR UPDATE`,
      [unitId],
    );
    const lineage = rows[0];
    if (!lineage) return null;
    const slots = await tx.query<LineageSlot>(
      `SELECT id, generation, state, spki_hash AS "spkiHash", issuer_id AS "issuerId", serial FROM lineage_slot WHERE lineage_id = $1`,
      [lineage.id],
    );
    return { lineage, slots: slots.rows };
  },
  closeLineage: async (tx, { lineageId, reason, at }) =>
    (
      await tx.query(`UPDATE lineage SET state = 'closed', closed_at = $2, close_reason = $3 WHERE id = $1`, [
        lineageId,
        at,
        reason,
      ])
    ).rowCount === 1,
};
