import { createServer } from 'node:net';
import type { Config } from '../platform/config/config.js';
import { FemtoError } from '../platform/errors.js';
import { addressError } from '../platform/listen.js';

/**
 * Tries every port before anything starts, so that all taken ones are named at once and no half installation runs.
 * @throws FemtoError STATE_CONFLICT, one sentence a port
 */
export async function checkPorts(config: Config): Promise<void> {
  const { host: metricsHost, ...metrics } = config.metrics;
  const wanted = [
    ...Object.entries(config.listen).map(([name, { host, port }]) => ({ host, port, setting: `listen.${name}.port` })),
    ...Object.entries(metrics).map(([name, port]) => ({ host: metricsHost, port, setting: `metrics.${name}` })),
  ].filter(({ port }) => port !== 0);
  const faults = (await Promise.all(wanted.map(tryPort))).filter((fault) => fault !== undefined);
  if (faults.length > 0) throw new FemtoError('STATE_CONFLICT', faults.join('\n'));
}

function tryPort(wanted: { host: string; port: number; setting: string }): Promise<string | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => done(addressError(error, wanted, wanted.setting).message));
    server.listen({ host: wanted.host, port: wanted.port }, () => server.close(() => done(undefined)));
  });
}
