import { join } from 'node:path';
import type { ActResult } from '../../src/apps/act-result.js';
import type { StoryContext } from '../../src/apps/installation-context.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { createLogger } from '../../src/platform/log.js';

/**
 * What the supervisor gives the story, for an installation that runs already. Close the pool at the end.
 * @param databaseUrl  where the database is for us, if not where it is for the installation
 */
export function storyContext(dataDir: string, databaseUrl?: string): StoryContext & { readonly told: ActResult[] } {
  const paths = dataPaths(dataDir);
  const configFile = join(paths.run, 'effective.yaml');
  const config = loadConfig({ configFile, env: {} });
  const url = databaseUrl ?? config.databaseUrl ?? '';
  const told: ActResult[] = [];
  return {
    told,
    config: { ...config, databaseUrl: url },
    configFile,
    paths,
    pool: openPool(url, { applicationName: 'story-test', connectionsMax: 4, onIdleError: () => undefined }),
    log: createLogger({ name: 'story', level: 'fatal' }),
    say: () => undefined,
    step: async (_label, work) => await work(),
    report: (act) => told.push(act),
  };
}
