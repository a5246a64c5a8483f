import { verify } from 'node:crypto';
import { get } from 'node:http';
import { FemtoError } from '../platform/errors.js';
import { readCertificate } from '../x509/certificate.js';
import { OID } from '../x509/oids.js';
import { importPublicKey } from '../x509/spki.js';
import { checkUnder, onlyCertificate, type Pins } from './check-server.js';

const ANSWER_BYTES_MAX = 8_192;
const TIMEOUT_MS = 10_000;

/**
 * The network's time over plain HTTP: what makes it true is the time key's signature over our fresh nonce, under the
 * pinned Services Root. A replayed answer carries another nonce. Overrides whatever the unit believed before (rules 8.3).
 *
 * @param statusUrl  e.g. `http://pki.hanbit.example:8080`
 * @param nonce      16 fresh random bytes
 * @throws FemtoError NONCE_BAD | UNKNOWN_ISSUER | CERT_EXPIRED | POP_FAIL; RETRY_LATER where the server cannot be had
 */
export async function networkTime(statusUrl: string, pins: Pins, nonce: Buffer): Promise<Date> {
  const nonceHex = nonce.toString('hex');
  const answer = JSON.parse((await fetchBytes(`${statusUrl}/time?nonce=${nonceHex}`)).toString('utf8')) as {
    readonly [name: string]: unknown;
  };
  const { time, nonce: echoed, signature, certificate } = answer;
  if (echoed !== nonceHex) throw new FemtoError('NONCE_BAD', 'The time answer is for another question; ask again.');
  if (typeof time !== 'string' || typeof signature !== 'string' || typeof certificate !== 'string') {
    throw new FemtoError('BAD_REQUEST', 'The time answer has no time; check the server.');
  }
  const now = new Date(time);
  const leaf = onlyCertificate(certificate);
  const ca = readCertificate(await fetchBytes(`${statusUrl}/ca/services-ca.cer`));
  // The claimed time itself must lie inside the claimed certificates: an expired time key cannot say what time it is.
  checkUnder(leaf, [ca], pins.servicesRoot, now);
  if (leaf.organizationalUnit !== 'time' || !leaf.ekus.includes(OID.documentSigning)) {
    throw new FemtoError('UNKNOWN_ISSUER', 'The time was not signed by a time key; check the server.');
  }
  const text = Buffer.from(`femtopki-time-v1\n${time}\n${nonceHex}\n`, 'ascii');
  if (!verify('sha256', text, importPublicKey(leaf.spki), Buffer.from(signature, 'base64'))) {
    throw new FemtoError('POP_FAIL', 'The time answer’s signature does not verify; check the server.');
  }
  return now;
}

function fetchBytes(url: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const fail = (cause?: unknown): void =>
      reject(new FemtoError('RETRY_LATER', 'The time server cannot be had; try again later.', { cause }));
    const outgoing = get(url, { timeout: TIMEOUT_MS, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) incoming.destroy();
        else chunks.push(chunk);
      });
      incoming.once('error', fail);
      incoming.once('close', () => {
        if (incoming.complete && incoming.statusCode === 200) resolve(Buffer.concat(chunks));
        else fail();
      });
    });
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', fail);
  });
}
