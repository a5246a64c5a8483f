import { createServer, type Server } from 'node:http';
import { boundListener, type ConnectionLimits, SLOW_CLIENT_LIMITS } from '../../platform/bounded-listener.js';
import { answerNotFound, type HttpHandler, mountPaths } from '../mount.js';

/** Where CMP over HTTP lives (RFC 9811 section 3.3; RFC 9483 section 6.1). */
export const CMP_PATH = '/.well-known/cmp';

export interface PlainListenerOptions extends Partial<ConnectionLimits> {
  /** Told of what a handler threw; the connection is cut. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Plain HTTP for CMP, whose messages protect themselves; every other path is 404. Anybody may reach it, so headers,
 * bodies and connections are limited as on the TLS listener.
 *
 * Old clients speak HTTP/1.0, with `Connection: keep-alive` where they mean to confirm on the same connection: answers are
 * never chunked, and a connection stays open where the handler gives Content-Length itself.
 */
export function createPlainListener(options: PlainListenerOptions, cmp: HttpHandler): Server {
  const handle = mountPaths({ [CMP_PATH]: cmp }, answerNotFound);
  const server = createServer(
    { ...SLOW_CLIENT_LIMITS, keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS, maxHeaderSize: HEADER_BYTES_MAX, noDelay: true },
    (request, response) => {
      response.useChunkedEncodingByDefault = false;
      handle(request, response).catch((error: unknown) => {
        options.onFault(error);
        response.destroy();
      });
    },
  );
  boundListener(server, {
    connectionsMax: options.connectionsMax ?? CONNECTIONS_MAX,
    connectionsPerAddressMax: options.connectionsPerAddressMax ?? CONNECTIONS_PER_ADDRESS_MAX,
    exempt: options.exempt,
  });
  server.maxRequestsPerSocket = REQUESTS_PER_SOCKET_MAX;
  return server;
}

const KEEP_ALIVE_TIMEOUT_MS = 5_000;
const HEADER_BYTES_MAX = 8_192;
const CONNECTIONS_MAX = 8_192;
const CONNECTIONS_PER_ADDRESS_MAX = 512;
const REQUESTS_PER_SOCKET_MAX = 100;
