import { setTimeout as sleep } from 'node:timers/promises';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../platform/db/embedded-postgres.js';
import type { Logger } from '../platform/log.js';

export interface SupervisedPostgres {
  /** Stays the same over restarts. */
  readonly url: string;
  stop(): Promise<void>;
}

const RESTART_PAUSE_MS = 1_000;

/** The embedded server, started again when it ends by itself; PostgreSQL recovers from its log. */
export async function keepPostgresRunning(options: EmbeddedPostgresOptions, log: Logger): Promise<SupervisedPostgres> {
  let ending = false;
  let server: EmbeddedPostgres = await startEmbeddedPostgres(options);
  const { url } = server;
  const watch = async (): Promise<void> => {
    while (!ending) {
      const { wanted } = await server.exited;
      if (wanted || ending) return;
      log.error('PostgreSQL ended by itself and is started again');
      await sleep(RESTART_PAUSE_MS);
      if (ending) return;
      try {
        server = await startEmbeddedPostgres(options);
      } catch (err) {
        log.error({ err }, 'PostgreSQL did not start again; next try follows');
      }
    }
  };
  void watch();
  return {
    url,
    stop: async () => {
      ending = true;
      await server.stop();
    },
  };
}
