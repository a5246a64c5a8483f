/** What the supervisor shows to the person who started it. Standard output: the installation's life; errors: logs. */
const HEARTBEAT_MS = 2_500;

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @param waitingFor  what a heartbeat line adds, e.g. the names of what is still missing */
export async function step<T>(label: string, work: () => Promise<T>, waitingFor: () => string = () => ''): Promise<T> {
  const started = performance.now();
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const heartbeat = setInterval(() => say(`  … ${label} (${seconds()}) ${waitingFor()}`.trimEnd()), HEARTBEAT_MS);
  try {
    const value = await work();
    say(`✓ ${label} (${seconds()})`);
    return value;
  } catch (error) {
    say(`✗ ${label} (${seconds()})`);
    throw error;
  } finally {
    clearInterval(heartbeat);
  }
}
