import type { FirstRunReport, InstallationContext } from './installation-context.js';

/** Before any process starts: ceremony, hierarchy, first people. Nothing to do yet. */
export async function firstRun(_context: InstallationContext): Promise<FirstRunReport> {
  return { isFirst: false, closing: [] };
}

/** Once the signer is ready and before any server starts: the servers' own certificates. Nothing to do yet. */
export async function ensureServices(_context: InstallationContext): Promise<void> {}
