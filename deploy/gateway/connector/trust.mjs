/** What an answer must carry to be believed: the decision key's signature, under a chain that ends in the Services Root. */
import { createHash, verify, X509Certificate } from 'node:crypto';

const CERTIFICATES_MAX = 16;
const FEED_TYPE = 'femtopki-feed+jws';
const SNAPSHOT_TYPE = 'femtopki-snapshot+jws';

/**
 * @typedef {object} Trust
 * @property {(text: string, signature: Buffer, certificatePem: string) => unknown} decision  the parsed text
 * @property {(jws: string) => any} page  the payload of a page of the feed
 * @property {(jws: string) => any} snapshot  what a snapshot says of itself; its signer was one when it was issued
 */

/**
 * @param {{ rootPem: string, intermediatesPem: string, now?: () => number }} options
 * @returns {Trust}  all throw a sentence for whatever is not to be believed
 */
export function makeTrust({ rootPem, intermediatesPem, now = Date.now }) {
  const root = new X509Certificate(rootPem);
  const intermediates = certificatesOf(intermediatesPem);

  const decisionKey = (/** @type {Buffer | string} */ bytes, atMs = now()) => {
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
      if (!(atMs >= Date.parse(certificate.validFrom) && atMs <= Date.parse(certificate.validTo))) {
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
      const { head, payload, check } = partsOf(jws, FEED_TYPE);
      check(decisionKey(certificateOf(head)));
      return JSON.parse(payload);
    },
    snapshot: (jws) => {
      const { head, payload, check } = partsOf(jws, SNAPSHOT_TYPE);
      const claims = JSON.parse(payload);
      // A decision key's certificate ends within a day; what it signed before holds until the snapshot's own end.
      check(decisionKey(certificateOf(head), Date.parse(claims.issuedAt)));
      return claims;
    },
  };
}

/** @param {string} jws @param {string} type */
function partsOf(jws, type) {
  const [header = '', payload = '', signature = '', ...more] = jws.trim().split('.');
  const head = JSON.parse(Buffer.from(header, 'base64url').toString());
  if (more.length > 0 || head.alg !== 'ES256' || head.typ !== type) throw new Error(`no ${type}`);
  return {
    head,
    payload: Buffer.from(payload, 'base64url').toString(),
    check: (/** @type {import('node:crypto').KeyObject} */ key) => {
      const signed = Buffer.from(`${header}.${payload}`);
      if (!verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')))
        throw new Error('the signature does not hold');
    },
  };
}

/** @param {any} head */
function certificateOf(head) {
  return Buffer.from(String(head.x5c?.[0]), 'base64');
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
