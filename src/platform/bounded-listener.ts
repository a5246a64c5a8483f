import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { homeOf } from './net/ip-address.js';

/** For `createServer` of node:http and node:https: a client that is slow with its headers or body is cut off. */
export const SLOW_CLIENT_LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: 15_000,
  /** How often node looks for those that are late. */
  connectionsCheckingInterval: 1_000,
} as const;

export interface ConnectionLimits {
  /** Open connections in all. */
  readonly connectionsMax: number;
  /** Open connections of one address: a carrier's NAT is many homes. */
  readonly connectionsPerAddressMax: number;
  /** Addresses that carry many clients, as proxies do; the limit per address is not theirs. */
  readonly exempt?: ((address: string) => boolean) | undefined;
}

/** Holds a listener that anybody may reach to so many connections, and answers what is no HTTP (threats section 1). */
export function boundListener(server: HttpServer | HttpsServer, limits: ConnectionLimits): void {
  server.maxConnections = limits.connectionsMax;
  server.on('clientError', answerClientError);
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined || limits.exempt?.(remoteAddress) === true) return;
    // One home has a whole IPv6 /64 to call from.
    const address = homeOf(remoteAddress);
    const count = (open.get(address) ?? 0) + 1;
    if (count > limits.connectionsPerAddressMax) {
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

/** Anything that is not HTTP, too long or too slow: one short answer, then the connection goes. */
function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || socket.destroyed) return;
  const status = CLIENT_ERRORS[error.code ?? ''] ?? '400 Bad Request';
  // Destroyed once it is written: a client that never closes its end would keep ours, and its place.
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
}

const CLIENT_ERRORS: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
};
