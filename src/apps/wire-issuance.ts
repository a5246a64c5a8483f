import { statSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { certificateReader } from '../lifecycle/issuance/certificate-reader.pg.js';
import { type Issuance, type IssuanceOptions, makeClockGuard, makeIssuance } from '../lifecycle/issuance/index.js';
import { issuanceStore } from '../lifecycle/issuance/issuance-store.pg.js';
import { cursors } from '../platform/ledger/cursors.pg.js';
import type { Signer } from '../platform/signer.js';
import { crlPartFile, shardPart } from '../x509/crl-part.js';
import type { Core } from './wire-core.js';

export interface IssuanceWiring {
  readonly signer: Signer;
  /** O= of every subject. */
  readonly operator: string;
  /** Where relying parties reach status-server. */
  readonly statusUrl: string;
  /** Shards of a Device CA's CRL that operational certificates name; default 0: they name the complete CRL. */
  readonly crlShards?: number;
  /** Of the configuration: when units are advised to renew. */
  readonly renewal?: { readonly dueAtFraction: number; readonly jitterFraction: number };
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
  readonly options?: IssuanceOptions;
  /** Seconds the oldest unnumbered ledger entry has waited; default: asked of the database. */
  readonly ledgerBacklogSeconds?: () => Promise<number>;
}

/** Issuance over the core, as every process that may ask the signer for leaves wires it. */
export function wireIssuance(core: Core, wiring: IssuanceWiring): Issuance {
  const { statusUrl } = wiring;
  return makeIssuance({
    ...core,
    store: issuanceStore,
    certificates: certificateReader,
    signer: wiring.signer,
    operator: wiring.operator,
    crlShards: wiring.crlShards ?? 0,
    urlsOf: ({ label }, shard) => ({
      crlUrl: `${statusUrl}/crl/${shard === undefined ? `${label}.crl` : crlPartFile(label, shardPart(shard))}`,
      ocspUrl: `${statusUrl}/ocsp`,
      caUrl: `${statusUrl}/ca/${label}.cer`,
    }),
    clockGuard: makeClockGuard({
      clock: core.clock,
      monotonicMs: () => performance.now(),
      buildTime: statSync(fileURLToPath(import.meta.url)).mtime,
    }),
    ledgerBacklogSeconds:
      wiring.ledgerBacklogSeconds ?? (async () => (await cursors.backlogAgeMs(core.transactor.read)) / 1_000),
    ...(wiring.renewal === undefined
      ? {}
      : { renewalSpread: { dueAt: wiring.renewal.dueAtFraction, jitter: wiring.renewal.jitterFraction } }),
    alarm: wiring.alarm,
    ...(wiring.options === undefined ? {} : { options: wiring.options }),
  });
}
