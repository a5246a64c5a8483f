import type { ProcessName } from './app-main.js';

/**
 * How Node.js is started for a process, where its own choice is far off.
 *
 * enrol-server holds hundreds of half-finished requests. V8's 16 MiB for new objects fill up many times while one of them waits
 * for its commits, and each time everything in flight is copied; with 64 MiB a renewal costs a sixth less.
 */
export function nodeFlags(name: ProcessName): readonly string[] {
  return name === 'enrol-server' ? ['--max-semi-space-size=64'] : [];
}
