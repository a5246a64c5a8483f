import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

/** Below Linux's range for outgoing connections (32768 on): there, a port that was free may be somebody's source port next. */
const LOWEST = 15_000;
const HIGHEST = 32_000;
const TRIES_MAX = 200;

/**
 * Ports on 127.0.0.1 that were free a moment ago, all different: for a whole installation beside others. Each is held
 * until all are found, so that none is named twice.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  for (let tries = 0; servers.length < count && tries < TRIES_MAX; tries++) {
    const server = createServer();
    const isHeld = await new Promise<boolean>((done) => {
      server.once('error', () => done(false)).listen(randomInt(LOWEST, HIGHEST), '127.0.0.1', () => done(true));
    });
    if (isHeld) servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  if (ports.length < count) throw new Error(`found only ${ports.length} of ${count} free ports`);
  return ports;
}
