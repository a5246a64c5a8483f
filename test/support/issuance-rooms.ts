/** Issuance as one process wires it, over an existing database and signer; used by tests and by their child processes. */
import { performance } from 'node:perf_hooks';
import { certificateReader } from '../../src/lifecycle/issuance/certificate-reader.pg.js';
import {
  type AbandonDeps,
  type Issuance,
  type IssuanceOptions,
  makeClockGuard,
  makeIssuance,
} from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import { type Lineages, makeLineages } from '../../src/lifecycle/lineage/index.js';
import { lineageStore } from '../../src/lifecycle/lineage/lineage-store.pg.js';
import { type IssuerDirectory, makeIssuerDirectory, makeRegistry } from '../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../src/lifecycle/registry/issuer-store.pg.js';
import { modelStore } from '../../src/lifecycle/registry/model-store.pg.js';
import { placeStore } from '../../src/lifecycle/registry/place-store.pg.js';
import { unitStore } from '../../src/lifecycle/registry/unit-store.pg.js';
import { makeRevocation, type Revocation } from '../../src/lifecycle/revocation/index.js';
import { revocationStore } from '../../src/lifecycle/revocation/revocation-store.pg.js';
import { statusRowStore } from '../../src/lifecycle/status/status-row-store.pg.js';
import type { Clock } from '../../src/platform/clock.js';
import type { Pool } from '../../src/platform/db/pool.pg.js';
import type { Transactor } from '../../src/platform/db/transaction.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import type { Signer } from '../../src/platform/signer.js';
import { systemClock, systemRandom } from '../../src/platform/system-clock.js';

export const OPERATOR = 'Hanbit Mobile';

export interface IssuanceRooms {
  readonly transactor: Transactor;
  readonly issuers: IssuerDirectory;
  readonly issuance: Issuance;
  readonly revocation: Revocation;
  readonly lineages: Lineages;
  readonly reconciler: AbandonDeps;
  readonly alarms: { what: string; facts: Record<string, unknown> }[];
}

export interface IssuanceRoomsOptions {
  readonly clock?: Clock;
  readonly options?: IssuanceOptions;
  readonly recordTriesMs?: number;
  readonly backlogSeconds?: () => Promise<number>;
  readonly buildTime?: Date;
}

export function openIssuance(pool: Pool, signer: Signer, changes: IssuanceRoomsOptions = {}): IssuanceRooms {
  const transactor = transactorOf(pool);
  const clock = changes.clock ?? systemClock;
  const alarms: IssuanceRooms['alarms'] = [];
  const lineages = makeLineages({ store: lineageStore, ledger });
  const revocation = makeRevocation({
    store: revocationStore,
    statusRows: statusRowStore,
    registry: makeRegistry({ units: unitStore, places: placeStore, models: modelStore, ledger }),
    units: unitStore,
    lineages,
    ledger,
    transactor,
    clock,
  });
  const issuers = makeIssuerDirectory({ transactor, issuers: issuerStore, clock });
  const reconciler: AbandonDeps = { transactor, store: issuanceStore, ledger, revocation, clock };
  const issuance = makeIssuance({
    ...reconciler,
    signer,
    issuers,
    certificates: certificateReader,
    random: systemRandom,
    operator: OPERATOR,
    urlsOf: ({ label }) => ({
      crlUrl: `http://127.0.0.1:8080/crl/${label}.crl`,
      ocspUrl: 'http://127.0.0.1:8080/ocsp',
      caUrl: `http://127.0.0.1:8080/ca/${label}.cer`,
    }),
    clockGuard: makeClockGuard({
      clock,
      monotonicMs: () => performance.now(),
      buildTime: changes.buildTime ?? new Date('2026-11-01T00:00:00Z'),
    }),
    ledgerBacklogSeconds: changes.backlogSeconds ?? (async () => 0),
    alarm: (what, facts) => alarms.push({ what, facts }),
    ...(changes.options === undefined ? {} : { options: changes.options }),
    ...(changes.recordTriesMs === undefined ? {} : { recordTriesMs: changes.recordTriesMs }),
  });
  return { transactor, issuers, issuance, revocation, lineages, reconciler, alarms };
}
