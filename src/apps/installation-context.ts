import type { Config } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import type { Pool } from '../platform/db/pool.pg.js';
import type { Logger } from '../platform/log.js';
import type { ActResult } from './act-result.js';

/** What the supervisor hands to the steps that others write: first run, services certificates, story. */
export interface InstallationContext {
  /** Effective: `databaseUrl` is always set, the embedded one where none was given. */
  readonly config: Config & { readonly databaseUrl: string };
  /** The same as a file, 0600; what each child was started with. */
  readonly configFile: string;
  readonly paths: DataPaths;
  readonly pool: Pool;
  readonly log: Logger;
  /** A line for the person at the terminal (standard output). */
  say(line: string): void;
  /** Runs a slow step: a line at once, at least one every 3 s, and ✓ or ✗ with its seconds. */
  step<T>(label: string, work: () => Promise<T>): Promise<T>;
}

/** What the story gets besides. */
export interface StoryContext extends InstallationContext {
  /** Shows one act as soon as its verdict is there; the result still goes into the array that runStory returns. */
  report(act: ActResult): void;
}

export interface FirstRunReport {
  /** True when this call made the installation: the story is told. */
  readonly isFirst: boolean;
  /** Lines for the very end, after the addresses: one-time sign-in links, what the demo ceremony did without. */
  readonly closing: readonly string[];
}
