import { Gauge, type Registry } from 'prom-client';
import { type Loop, startLoop } from '../jobs/loop.js';
import { makeCrlMirror } from '../lifecycle/status/index.js';
import type { Clock } from '../platform/clock.js';
import type { Config } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import type { Logger } from '../platform/log.js';
import { crlSources, openCrlStore } from './crl-store.js';

const COPY_EVERY_MS = 250;

/** A loop of its own, so that a store that is slow keeps no CRL from the disk. None where no store is configured. */
export function crlStoreLoops(wiring: {
  readonly config: Config;
  readonly paths: DataPaths;
  readonly clock: Clock;
  readonly log: Logger;
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
  readonly onError: (loop: string, error: unknown) => void;
  readonly registry: Registry;
}): Loop[] {
  const { config, paths, clock, log, alarm, onError, registry } = wiring;
  const store = openCrlStore(config);
  if (!store) return [];
  const mirror = makeCrlMirror({ sources: crlSources(paths), store, clock });
  new Gauge({
    name: 'femtopki_crl_store_behind_seconds',
    help: 'Since when the CRL store lacks a list that lies on the disk; 0: it has them all. Page at 60.',
    registers: [registry],
    collect() {
      this.set(mirror.behindMs() / 1_000);
    },
  });
  return [
    startLoop({
      name: 'crl-store',
      everyMs: COPY_EVERY_MS,
      onError,
      run: async () => {
        for (const { outcome, error, ...facts } of await mirror.copyDue()) {
          if (outcome === 'copied') log.info(facts, 'CRL in the store');
          else {
            const behindSeconds = Math.round(mirror.behindMs() / 1_000);
            alarm('a CRL is not in the store', { ...facts, behindSeconds, code: error?.code, why: error?.message });
          }
        }
        return undefined;
      },
    }),
  ];
}
