import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * node:http with limits for a port that anybody may reach: slow headers and bodies are cut within seconds, and one address
 * holds so many connections and no more (threats section 1).
 */
export function createStatusListener(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  options: { readonly connectionsPerAddressMax?: number; readonly exempt?: (address: string) => boolean } = {},
): Server {
  const server = createServer(
    {
      headersTimeout: 5_000,
      requestTimeout: 15_000,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 30_000,
      maxHeaderSize: 16_384,
      // A request with an open end must not leave its socket half closed for ever.
      noDelay: true,
    },
    handle,
  );
  server.maxConnections = CONNECTIONS_MAX;
  limitPerAddress(server, options.connectionsPerAddressMax ?? CONNECTIONS_PER_ADDRESS_MAX, options.exempt);
  return server;
}

const CONNECTIONS_MAX = 10_000;
const CONNECTIONS_PER_ADDRESS_MAX = 512;

/** Proxies carry many clients and are exempt. */
function limitPerAddress(server: Server, max: number, exempt: ((address: string) => boolean) | undefined): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || exempt?.(address) === true) return;
    const count = (open.get(address) ?? 0) + 1;
    if (count > max) {
      socket.destroy();
      return;
    }
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left <= 0) open.delete(address);
      else open.set(address, left);
    });
  });
}
