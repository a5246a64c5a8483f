import { constants } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { boundListener, SLOW_CLIENT_LIMITS } from '../../platform/bounded-listener.js';

export interface TlsListenerOptions {
  /** Chain (leaf first) and key, PEM. */
  readonly identity: { readonly cert: string; readonly key: string };
  /** Open connections in all; default 8,192. */
  readonly connectionsMax?: number;
  /** Open connections of one address; default 512: a carrier's NAT is many homes. */
  readonly connectionsPerAddressMax?: number;
}

/**
 * The TLS listener that units, stations and EST clients meet. Client certificates are asked for and never judged by the
 * TLS layer: which key issued them, and whether we recorded them, is judged by whoever needs it (rules 1.2), and an
 * expired unit must still be able to come back.
 */
export function createTlsListener(options: TlsListenerOptions, onRequest: RequestListener): Server {
  const server = createServer(
    {
      ...secureContext(options.identity),
      requestCert: true,
      rejectUnauthorized: false,
      ...SLOW_CLIENT_LIMITS,
      handshakeTimeout: SLOW_CLIENT_LIMITS.headersTimeout,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    },
    onRequest,
  );
  boundListener(server, {
    connectionsMax: options.connectionsMax ?? CONNECTIONS_MAX,
    connectionsPerAddressMax: options.connectionsPerAddressMax ?? CONNECTIONS_PER_ADDRESS_MAX,
  });
  server.maxRequestsPerSocket = REQUESTS_PER_SOCKET_MAX;
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return server;
}

/** New key or certificate without a restart: open connections keep the old one, new ones get the new. */
export function renewTlsIdentity(server: Server, identity: TlsListenerOptions['identity']): void {
  server.setSecureContext(secureContext(identity));
}

function secureContext(identity: TlsListenerOptions['identity']): SecureContextOptions {
  return {
    ...identity,
    minVersion: 'TLSv1.2',
    // No session is ever resumed: no ticket here, and no cache because nobody listens to 'newSession' and
    // 'resumeSession'. A full handshake is what proves a key live.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    ciphers: TLS12_CIPHERS,
  };
}

const KEEP_ALIVE_TIMEOUT_MS = 5_000;
const HEADER_BYTES_MAX = 8_192;
const CONNECTIONS_MAX = 8_192;
const CONNECTIONS_PER_ADDRESS_MAX = 512;
const REQUESTS_PER_SOCKET_MAX = 100;
/** TLS 1.3's own suites, and for 1.2 only forward-secret AEAD ones. */
const TLS12_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
].join(':');
