import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FemtoError } from './errors.js';

export interface Listening {
  /** The port in use; of interest where 0 was asked for. */
  readonly port: number;
  /** Takes no new connection, lets requests under way finish for `graceMs`, then cuts the rest. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Listens with a server of node:http or node:https.
 *
 * @param setting  the config's name of the port, for the sentence, e.g. `listen.enrol.port`
 * @throws FemtoError STATE_CONFLICT with the next step when the address is taken, foreign or forbidden
 */
export async function listen(
  server: Server,
  address: { host: string; port: number },
  setting: string,
): Promise<Listening> {
  await new Promise<void>((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(addressError(error, address, setting)));
    server.listen({ host: address.host, port: address.port }, done);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: async (graceMs = 5_000) => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeIdleConnections();
      const timer = new AbortController();
      const cut = sleep(graceMs, undefined, { signal: timer.signal }).then(
        () => server.closeAllConnections(),
        () => undefined, // everything ended in time
      );
      await closed;
      timer.abort();
      await cut;
    },
  };
}

/** What a person reads when a port cannot be had. */
export function addressError(
  error: NodeJS.ErrnoException,
  address: { host: string; port: number },
  setting: string,
): FemtoError {
  const at = `${address.host}:${address.port}`;
  const variable = `FEMTOPKI_${setting
    .replace(/([A-Z])/g, '_$1')
    .replaceAll('.', '_')
    .toUpperCase()}`;
  const sentence =
    error.code === 'EADDRINUSE'
      ? `Port ${address.port} on ${address.host} is taken by another program ("ss -ltnp 'sport = :${address.port}'" shows which): stop it, or set ${setting} (${variable}) to a free port.`
      : error.code === 'EACCES'
        ? `This account may not listen on ${at}: set ${setting} (${variable}) to a port above 1023.`
        : error.code === 'EADDRNOTAVAIL'
          ? `${address.host} is no address of this machine: correct the host beside ${setting} (${variable}).`
          : `Listening on ${at} failed (${error.code ?? error.message}): check ${setting} (${variable}).`;
  return new FemtoError('STATE_CONFLICT', sentence, { cause: error, facts: { port: address.port } });
}
