import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { FemtoError } from '../../platform/errors.js';
import type { KeyRequest } from '../../x509/key-request.js';

/**
 * A client may put base64 of tls-unique into the request's challengePassword; then it must be this connection's, or the
 * request was carried here from another one. TLS 1.3 has no tls-unique and EST names no substitute, so nothing is right
 * there. Session resumption and renegotiation are off: the first Finished is always the client's.
 *
 * @throws FemtoError POP_FAIL
 * @see RFC 7030 section 3.5; RFC 5929 section 3.1; RFC 9266 section 4.1
 */
export function checkChannelBinding({ challengePassword }: KeyRequest, socket: Duplex): void {
  if (challengePassword === undefined) return;
  const hasUnique = socket instanceof TLSSocket && socket.getProtocol() === 'TLSv1.2';
  const unique = hasUnique ? socket.getPeerFinished() : undefined;
  if (unique?.toString('base64') === challengePassword) return;
  throw new FemtoError(
    'POP_FAIL',
    'The challengePassword is not the tls-unique value of this connection; leave it out, or put that there (TLS 1.2 only).',
  );
}
