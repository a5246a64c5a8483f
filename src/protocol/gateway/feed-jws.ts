import { X509Certificate } from 'node:crypto';
import type { DecisionSign } from './decision-sign.js';

/**
 * A text as a compact JWS (RFC 7515): ES256 by the decision key, whose certificate is in `x5c` and chains to the
 * Services Root.
 */
export function signJws(sign: DecisionSign, type: string, payload: string): string {
  // The header names the certificate of the key that signs, so it is asked for first; both are of one moment.
  const { certificatePem } = sign(Buffer.alloc(0));
  const x5c = [new X509Certificate(certificatePem).raw.toString('base64')];
  const header = Buffer.from(JSON.stringify({ alg: 'ES256', typ: type, x5c })).toString('base64url');
  const signed = `${header}.${Buffer.from(payload).toString('base64url')}`;
  const { signature } = sign(Buffer.from(signed), 'ieee-p1363');
  return `${signed}.${signature.toString('base64url')}`;
}
