/** How a server gets a line to a signer: a socket of this host, or an mTLS port of another. */
import { createConnection, type Socket } from 'node:net';
import { connect } from 'node:tls';
import type { SignerRole } from '../signer.js';
import type { KeyClass } from './key-class.js';
import { type LinkIdentity, shownSpkiSha256 } from './link-identity.js';
import { alpnOf } from './signer-port.js';
import { signerSocketPath } from './socket-path.js';

/** Resolves with a line that may be written to; rejects in a sentence. */
export type Dial = (keyClass: KeyClass) => Promise<Socket>;

/** A signer on another host. */
export interface SignerPlace {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of its SubjectPublicKeyInfo, hex: nobody else is asked to sign. */
  readonly spkiSha256: string;
}

const CONNECT_MS_MAX = 2_000;

export function dialHere(runDir: string, role: SignerRole): Dial {
  // It may be written to at once: what is written waits in the socket, or is lost with it.
  return async (keyClass) => createConnection(signerSocketPath(runDir, keyClass, role));
}

/**
 * @param places  tried in turn, each time from the one that answered last: all hold the same keys
 * @param identity  gives this host's role there
 */
export function dialHosts(places: readonly SignerPlace[], identity: LinkIdentity): Dial {
  let first = 0;
  return async (keyClass) => {
    let why: unknown;
    for (let tried = 0; tried < places.length; tried++) {
      const at = (first + tried) % places.length;
      try {
        const socket = await dialHost(places[at] as SignerPlace, identity, keyClass);
        first = at;
        return socket;
      } catch (thrown) {
        why = thrown;
      }
    }
    throw why;
  };
}

function dialHost(place: SignerPlace, identity: LinkIdentity, keyClass: KeyClass): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: place.host,
      port: place.port,
      key: identity.keyPem,
      cert: identity.certificatePem,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [alpnOf(keyClass)],
      // By key, below: a chain would say less.
      rejectUnauthorized: false,
    });
    const late = setTimeout(() => socket.destroy(new Error('it does not answer')), CONNECT_MS_MAX);
    const where = `${place.host}:${place.port}`;
    socket.once('error', (error) => reject(new Error(`The signer at ${where} cannot be reached (${error.message}).`)));
    socket.once('close', () => {
      clearTimeout(late);
      reject(new Error(`The signer at ${where} ended the connection.`));
    });
    socket.once('secureConnect', () => {
      clearTimeout(late);
      if (shownSpkiSha256(socket.getPeerX509Certificate()) !== place.spkiSha256) {
        socket.destroy(new Error('it proved another key than signer.places names'));
        return;
      }
      socket.setKeepAlive(true, 10_000);
      resolve(socket);
    });
  });
}
