/**
 * The signer's ear for servers on other hosts: one mTLS port (rules 2.2). The key that the caller proves gives the role, by
 * the signer's own file; the ALPN name says which class is meant. What comes in goes to that role's socket as it is, so
 * a caller can do here exactly what it could do there.
 */
import { createConnection } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { KEY_CLASSES, type KeyClass, rolesOfClass } from './key-class.js';
import { openLinkIdentity, shownSpkiSha256 } from './link-identity.js';
import type { SignerConfig } from './signer-config.js';
import { signerSocketPath } from './socket-path.js';

const CONNECTIONS_MAX = 256;
const HANDSHAKE_MS_MAX = 5_000;
const TOLD_EVERY_MS = 1_000;

/** What both ends call a class in the handshake. */
export function alpnOf(keyClass: KeyClass): string {
  return `femtopki-signer-${keyClass}`;
}

/**
 * @param onRefused  why a caller was turned away; once a second at most
 * @throws FemtoError INTERNAL for an unusable key file; the system's error for a taken port
 */
export async function listenForHosts(
  listen: NonNullable<SignerConfig['listen']>,
  runDir: string,
  onRefused: (why: string, facts: Record<string, unknown>) => void,
): Promise<{ close(): Promise<void> }> {
  const identity = openLinkIdentity(listen.keyFile);
  const callers = new Map(listen.clients.map((client) => [client.spkiSha256, client]));
  const open = new Set<TLSSocket>();
  const tell = throttled(onRefused);
  const server = createServer(
    {
      key: identity.keyPem,
      cert: identity.certificatePem,
      minVersion: 'TLSv1.3',
      requestCert: true,
      // By key, not by chain: whoever is not in the file is turned away below.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS_MAX,
      ALPNProtocols: KEY_CLASSES.map(alpnOf),
    },
    (socket) => {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
      socket.on('error', () => undefined);
      const spkiSha256 = shownSpkiSha256(socket.getPeerX509Certificate());
      const caller = spkiSha256 === undefined ? undefined : callers.get(spkiSha256);
      const keyClass = KEY_CLASSES.find((known) => alpnOf(known) === socket.alpnProtocol);
      if (caller === undefined || keyClass === undefined || !rolesOfClass(keyClass).includes(caller.role)) {
        tell('a caller was turned away', { address: socket.remoteAddress, spkiSha256, name: caller?.name, keyClass });
        socket.destroy();
        return;
      }
      passOn(socket, signerSocketPath(runDir, keyClass, caller.role));
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.on('tlsClientError', (error, socket) => {
    tell('a handshake failed', { address: socket.remoteAddress, error: error.message });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, resolve);
  });
  return {
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Both ways, with the receiver's pace; when one side ends, so does the other. */
function passOn(outer: TLSSocket, path: string): void {
  const inner = createConnection(path);
  inner.on('error', () => undefined);
  inner.on('close', () => outer.destroy());
  outer.on('close', () => inner.destroy());
  outer.setKeepAlive(true, 10_000);
  outer.pipe(inner);
  inner.pipe(outer);
}

function throttled(tell: (why: string, facts: Record<string, unknown>) => void): typeof tell {
  let nextMs = 0;
  return (why, facts) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + TOLD_EVERY_MS;
    tell(why, facts);
  };
}
