import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { boundListener, type ConnectionLimits, SLOW_CLIENT_LIMITS } from '../platform/bounded-listener.js';

/**
 * node:http with limits for a port that anybody may reach: slow headers and bodies are cut within seconds, and one address
 * holds so many connections and no more (threats section 1).
 */
export function createStatusListener(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  options: Partial<Pick<ConnectionLimits, 'connectionsPerAddressMax' | 'exempt'>> = {},
): Server {
  const server = createServer(
    {
      ...SLOW_CLIENT_LIMITS,
      keepAliveTimeout: 30_000,
      maxHeaderSize: 16_384,
      // A request with an open end must not leave its socket half closed for ever.
      noDelay: true,
    },
    handle,
  );
  boundListener(server, {
    connectionsMax: CONNECTIONS_MAX,
    connectionsPerAddressMax: options.connectionsPerAddressMax ?? CONNECTIONS_PER_ADDRESS_MAX,
    exempt: options.exempt,
  });
  return server;
}

const CONNECTIONS_MAX = 10_000;
const CONNECTIONS_PER_ADDRESS_MAX = 512;
