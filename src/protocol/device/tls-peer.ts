import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Server, TLSSocket } from 'node:tls';

/** What a TLS connection proved about its caller. */
export interface TlsPeer {
  /** Leaf as presented; null when the client sent none. */
  readonly certificateDer: Buffer | null;
  /** What else the client sent, DER: the CAs between its leaf and a root, if any. */
  readonly chain: readonly Buffer[];
  /** When the full handshake ended, by our clock. */
  readonly provedAt: Date;
}

/** Reads the peer of a request's connection. */
export type PeerReader = (request: IncomingMessage) => TlsPeer | null;

/**
 * Notes the end of each handshake. Resumption is off on this listener, so a handshake is a signature by the client's key
 * made just then: the live proof that the fork table asks for (rules section 4).
 */
export function watchHandshakes(server: Server, now: () => Date): PeerReader {
  const provedAt = new WeakMap<TLSSocket, Date>();
  server.on('secureConnection', (socket: TLSSocket) => provedAt.set(socket, now()));
  return ({ socket }) => {
    if (!(socket instanceof TLSSocket)) return null;
    const at = provedAt.get(socket);
    // A resumed session proves nothing new; our contexts issue no ticket, so this cannot happen, and must not matter.
    if (at === undefined || socket.isSessionReused()) return null;
    const leaf = socket.getPeerX509Certificate();
    return { certificateDer: leaf?.raw ?? null, chain: issuersOf(leaf), provedAt: at };
  };
}

function issuersOf(leaf: X509Certificate | undefined): readonly Buffer[] {
  const chain: Buffer[] = [];
  for (let at = leaf?.issuerCertificate; at !== undefined && chain.length < CHAIN_MAX; at = at.issuerCertificate) {
    chain.push(at.raw);
  }
  return chain;
}

const CHAIN_MAX = 8;
