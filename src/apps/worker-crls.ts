import { crlPartStore } from '../lifecycle/status/crl-part-store.pg.js';
import { crlStore } from '../lifecycle/status/crl-store.pg.js';
import {
  CRL_ENTRIES_BYTES_ALARM,
  type CrlFiles,
  makeCrlPartsPublisher,
  makeCrlPublisher,
} from '../lifecycle/status/index.js';
import { statusChangeReader } from '../lifecycle/status/status-changes.pg.js';
import type { Config } from '../platform/config/config.js';
import type { Leases } from '../platform/db/lease.js';
import type { Logger } from '../platform/log.js';
import type { Signer } from '../platform/signer.js';
import { crlPartFile } from '../x509/crl-part.js';
import type { Core } from './wire-core.js';

/** Revocations of so long go into one CRL. */
export const CRLS_EVERY_MS = 250;
/** Publication of one CA takes at most a tenth of the time: a list of a million does not fill the disks by itself. */
const CRL_REST_FACTOR = 9;

export interface CrlPublication {
  readonly core: Core;
  readonly leases: Leases;
  readonly signer: Signer;
  readonly files: CrlFiles;
  readonly holder: string;
  readonly config: Config;
  readonly log: Logger;
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

/** One look: the complete CRLs that are due, then what follows them. */
export function crlPublication(wiring: CrlPublication): () => Promise<undefined> {
  const { core, leases, signer, files, holder, config, log, alarm } = wiring;
  const { crlEverySeconds: everySeconds, crlSeconds: lifeSeconds, crlDeltas, crlShards } = config.status;
  const statusUrl = config.publicUrls.status;
  const common = { transactor: core.transactor, leases, signer, files, clock: core.clock, holder, everySeconds };
  const crls = makeCrlPublisher({
    ...common,
    store: crlStore,
    changes: statusChangeReader,
    ledger: core.ledger,
    lifeSeconds,
    restFactor: CRL_REST_FACTOR,
    ...(crlDeltas && { freshestCrlUrlOf: (label: string) => `${statusUrl}/crl/${crlPartFile(label, 'delta')}` }),
  });
  const parts =
    crlDeltas || crlShards > 0
      ? makeCrlPartsPublisher({
          ...common,
          store: crlPartStore,
          completes: crlStore,
          deltas: crlDeltas,
          shards: crlShards,
          statusUrl,
        })
      : undefined;
  return async () => {
    for (const { outcome, error, ...facts } of await crls.publishDue()) {
      if (outcome === 'failed') alarm('a CRL was not published', { ...facts, code: error?.code, why: error?.message });
      else log.info({ ...facts, outcome }, 'CRL');
      if ((facts.entriesBytes ?? 0) > CRL_ENTRIES_BYTES_ALARM)
        alarm('a CRL is nearly as large as the signer takes; open another CA', facts);
    }
    for (const { outcome, error, ...facts } of (await parts?.publishDue()) ?? []) {
      if (outcome === 'failed')
        alarm('parts of a CRL were not published', { ...facts, code: error?.code, why: error?.message });
      else log.info({ ...facts, outcome }, 'parts of a CRL');
    }
    return undefined;
  };
}
