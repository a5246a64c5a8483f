import { rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { FemtoError } from '../errors.js';

/**
 * Lets one signer run on a state directory: two would write one journal and steal each other's sockets. A bound unix
 * socket is a lock that dies with its process, which a file with a process id is not.
 * @throws FemtoError STATE_CONFLICT when another one is alive
 */
export async function holdSingleInstance(socketsDir: string): Promise<Server> {
  const path = join(socketsDir, 'signer-lock.sock');
  if (await isAlive(path)) {
    throw new FemtoError('STATE_CONFLICT', `A signer already runs here (${path} answers); stop it first.`);
  }
  rmSync(path, { force: true });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // ENOENT: never there. ECONNREFUSED: its process died.
    probe.once('error', () => resolve(false));
  });
}
