/** What an answer must carry to be believed: the decision key's signature, under a chain that ends in the Services Root. */
import { createHash, verify, X509Certificate } from 'node:crypto';

const CERTIFICATES_MAX = 16;
const FEED_TYPE = 'femtopki-feed+jws';

/**
 * @typedef {object} Trust
 * @property {(text: string, signature: Buffer, certificatePem: string) => unknown} decision  the parsed text
 * @property {(jws: string) => any} page  the payload of a page of the feed
 */

/**
 * @param {{ rootPem: string, intermediatesPem: string, now?: () => number }} options
 * @returns {Trust}  both throw a sentence for whatever is not to be believed
 */
export function makeTrust({ rootPem, intermediatesPem, now = Date.now }) {
  const root = new X509Certificate(rootPem);
  const intermediates = certificatesOf(intermediatesPem);

  const decisionKey = (/** @type {Buffer | string} */ bytes) => {
    const leaf = new X509Certificate(bytes);
    // Stations, servers and other gateways hold certificates of the same CA; only this role decides.
    if (!leaf.subject.split('\n').includes('OU=decision')) throw new Error('signed with a key that is no decision key');
    if (leaf.ca) throw new Error('signed with the key of a CA');
    const issuer = intermediates.find((ca) => ca.ca && leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
    if (!issuer) throw new Error('signed with a key that no CA of "intermediates" vouches for');
    if (!issuer.checkIssued(root) || !issuer.verify(root.publicKey)) {
      throw new Error('signed under a CA that the Services Root does not vouch for');
    }
    for (const certificate of [leaf, issuer, root]) {
      if (now() < Date.parse(certificate.validFrom) || now() > Date.parse(certificate.validTo)) {
        throw new Error(`signed under a certificate outside its life: ${certificate.subject.replaceAll('\n', ', ')}`);
      }
    }
    return leaf.publicKey;
  };

  return {
    decision: (text, signature, certificatePem) => {
      if (!verify('sha256', Buffer.from(text), decisionKey(certificatePem), signature)) {
        throw new Error('the signature does not hold');
      }
      return JSON.parse(text);
    },
    page: (jws) => {
      const [header = '', payload = '', signature = '', ...more] = jws.trim().split('.');
      const head = JSON.parse(Buffer.from(header, 'base64url').toString());
      if (more.length > 0 || head.alg !== 'ES256' || head.typ !== FEED_TYPE) throw new Error('no page of the feed');
      const key = decisionKey(Buffer.from(String(head.x5c?.[0]), 'base64'));
      const signed = Buffer.from(`${header}.${payload}`);
      if (!verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))) {
        throw new Error('the signature does not hold');
      }
      return JSON.parse(Buffer.from(payload, 'base64url').toString());
    },
  };
}

/** @param {string} pem @returns {X509Certificate[]} */
export function certificatesOf(pem) {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > CERTIFICATES_MAX) throw new Error(`more than ${CERTIFICATES_MAX} certificates in one file`);
  return blocks.map((block) => new X509Certificate(block));
}

/** @param {Buffer} der @returns {string} hex */
export function sha256Hex(der) {
  return createHash('sha256').update(der).digest('hex');
}
