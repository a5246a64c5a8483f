import { join } from 'node:path';
import type { ActResult } from '../../src/apps/act-result.js';
import type { StoryContext } from '../../src/apps/installation-context.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { createLogger } from '../../src/platform/log.js';

/** What the supervisor gives the story, for an installation that runs already. Close the pool at the end. */
export function storyContext(dataDir: string): StoryContext & { readonly told: ActResult[] } {
  const paths = dataPaths(dataDir);
  const configFile = join(paths.run, 'effective.yaml');
  const config = loadConfig({ configFile, env: {} });
  const databaseUrl = config.databaseUrl ?? '';
  const told: ActResult[] = [];
  return {
    told,
    config: { ...config, databaseUrl },
    configFile,
    paths,
    pool: openPool(databaseUrl, { applicationName: 'story-test', connectionsMax: 4, onIdleError: () => undefined }),
    log: createLogger({ name: 'story', level: 'fatal' }),
    say: () => undefined,
    step: async (_label, work) => await work(),
    report: (act) => told.push(act),
  };
}
