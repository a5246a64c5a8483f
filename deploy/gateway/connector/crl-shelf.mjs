/**
 * The newest CRL of each CA, as a file that charon reads by itself whenever it has none in its cache: after a flush, at its
 * own start, while the status server is away. A file, because a vici value ends at 65,535 octets, and because what is loaded
 * over vici outlives every flush.
 *
 * @typedef {object} CrlPlace  as the feed tells it, signed
 * @property {string} url
 * @property {string} certificate  the CA's own, DER in base64
 * @typedef {ReturnType<typeof makeCrlShelf>} CrlShelf
 */
import { X509Certificate } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readCrl } from './crl.mjs';
import { read, write } from './whole-file.mjs';

const REFRESH_MS = 60_000;

/**
 * @param {object} deps
 * @param {import('./config.mjs').Config} deps.config
 * @param {Pick<import('./api.mjs').Api, 'crl'>} deps.api
 * @param {() => import('./charon.mjs').Charon} deps.charon
 * @param {() => readonly X509Certificate[]} deps.links  roots under charon's anchors
 * @param {(text: string) => void} deps.log
 */
export function makeCrlShelf({ config, api, charon, links, log }) {
  /** By the issuer's key identifier. @type {Map<string, { place: CrlPlace, ca: X509Certificate, crl: import('./crl.mjs').Crl | null, etag: string }>} */
  const shelf = new Map();
  mkdirSync(config.crlDir, { recursive: true, mode: 0o700 });
  const fileOf = (/** @type {string} */ issuer) => join(config.crlDir, `femtopki-${issuer}.crl`);

  const learn = (/** @type {Record<string, CrlPlace>} */ places) => {
    for (const [issuer, place] of Object.entries(places)) {
      if (!/^[0-9a-f]{2,128}$/.test(issuer)) throw new Error(`"${issuer}" is no key identifier`);
      const known = shelf.get(issuer);
      if (known?.place.certificate === place.certificate) {
        known.place = place;
        continue;
      }
      const ca = new X509Certificate(Buffer.from(place.certificate, 'base64'));
      const der = read(fileOf(issuer));
      shelf.set(issuer, { place, ca, crl: der && kept(der, ca, issuer), etag: '' });
    }
  };

  const kept = (/** @type {Buffer} */ der, /** @type {X509Certificate} */ ca, /** @type {string} */ issuer) => {
    try {
      return readCrl(der, ca);
    } catch (error) {
      log(`${fileOf(issuer)}: ${/** @type {Error} */ (error).message}; it is fetched anew`);
      return null;
    }
  };

  /** @param {string} issuer @returns {Promise<{ crl: import('./crl.mjs').Crl, isNew: boolean }>} */
  const fetch = async (issuer) => {
    const held = shelf.get(issuer);
    if (held === undefined) throw new Error(`the feed names no CRL of issuer ${issuer}`);
    const { der, etag } = await api.crl(held.place.url, held.crl === null ? '' : held.etag);
    if (der === null && held.crl !== null) return { crl: held.crl, isNew: false };
    const crl = readCrl(der ?? Buffer.alloc(0), held.ca);
    // A cache on the way may still have an older one.
    if (held.crl !== null && crl.thisUpdateMs < held.crl.thisUpdateMs) return { crl: held.crl, isNew: false };
    const isNew = held.crl === null || !held.crl.der.equals(crl.der);
    if (isNew) write(fileOf(issuer), crl.der);
    Object.assign(held, { crl, etag });
    return { crl, isNew };
  };

  /**
   * Tells charon where the files are. Again and again: `swanctl --load-all` forgets what stands in no file of its own. Only
   * CAs under what charon trusts already are named, because a self-signed one would become an anchor by being named.
   */
  const offer = async () => {
    const anchors = [...(await charon().anchors()), ...links()];
    for (const [issuer, { ca, crl }] of shelf) {
      const isUnits = anchors.some(
        (anchor) => anchor.raw.equals(ca.raw) || (ca.checkIssued(anchor) && ca.verify(anchor.publicKey)),
      );
      if (isUnits && crl !== null) await charon().offerCrl(issuer, ca.raw, fileOf(issuer));
    }
  };

  /** Charon reads the files anew at the next certificate. */
  const flush = async () => {
    await offer();
    await charon().flush('x509_crl');
    await charon().flush('ocsp_response');
  };

  return {
    learn,
    fetch,
    offer,
    flush,
    /** @param {string} issuer */
    has: (issuer) => shelf.has(issuer),
    /** @param {X509Certificate} certificate  of a CA */
    knows: (certificate) => [...shelf.values()].some(({ ca }) => ca.raw.equals(certificate.raw)),
    /** Which of our CAs signed it, and whether its CRL lists it. @param {X509Certificate} certificate */
    find: (certificate) => {
      for (const [issuer, { ca, crl }] of shelf) {
        if (certificate.checkIssued(ca) && certificate.verify(ca.publicKey))
          return { issuer, isListed: crl?.lists(certificate.serialNumber) ?? false };
      }
      return null;
    },
    /** Keeps every file fresh, whatever the feed does. @param {AbortSignal} signal @param {() => Promise<void>} onNewer */
    startRefresh: (signal, onNewer) => {
      const timer = setInterval(async () => {
        try {
          const fetched = await Promise.allSettled([...shelf.keys()].map(fetch));
          const isNewer = fetched.some((one) => one.status === 'fulfilled' && one.value.isNew);
          if (!isNewer) return await offer();
          await flush();
          await onNewer();
        } catch (error) {
          log(`refreshing CRLs: ${/** @type {Error} */ (error).message}`);
        }
      }, REFRESH_MS);
      signal.addEventListener('abort', () => clearInterval(timer));
    },
  };
}
