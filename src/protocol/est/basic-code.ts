import type { IncomingMessage } from 'node:http';
import { FemtoError } from '../../platform/errors.js';

/** What an Authorization header brought. */
export type BasicCode =
  | { readonly kind: 'absent' }
  /** Null: an empty password. The caller asks for an activation, and an order stands for the code. */
  | { readonly kind: 'basic'; readonly code: string | null };

/**
 * The activation code as the password of HTTP Basic. The user name is the client's own affair: who asks is known by its
 * certificate (rules 3.2).
 *
 * @throws FemtoError BAD_REQUEST another scheme, bad base64, or longer than any code
 * @see RFC 7617 section 2; RFC 7030 section 3.2.3
 */
export function readBasicCode({ headers }: IncomingMessage): BasicCode {
  const { authorization } = headers;
  if (authorization === undefined) return { kind: 'absent' };
  const [, encoded] = (authorization.length <= HEADER_CHARACTERS_MAX && BASIC.exec(authorization)) || [];
  if (encoded === undefined) throw badHeader();
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const code = text.slice(colon + 1);
  if (colon < 0 || !CODE.test(code)) throw badHeader();
  return { kind: 'basic', code: code === '' ? null : code };
}

function badHeader(): FemtoError {
  return new FemtoError('BAD_REQUEST', 'The Authorization header must be Basic with the activation code as password.');
}

const HEADER_CHARACTERS_MAX = 512;
const BASIC = /^Basic +([A-Za-z0-9+/]{1,400}={0,2}) *$/i;
const CODE = /^[\x20-\x7e]{0,64}$/;
