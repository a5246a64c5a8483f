/**
 * Access Roots follow one another, and Device CAs come into use. What the server offers is believed for the signature of a
 * root that charon was given as an anchor, and for nothing else: the new root's certificate under the old one goes to charon as
 * a CA in between, so that chains under the new root end in the old one, and no connection has to be written anew. What charon
 * then knows is acknowledged: nothing is issued under a CA before every gateway has said so.
 *
 * @typedef {{ label: string, certificate: string }} Offered  PEM
 * @typedef {{ roots: Offered[], links: { newWithOld: string }[], cas: Offered[] }} Anchors  as GET /v1/anchors answers
 * @typedef {ReturnType<typeof makeAnchorKeeper>} AnchorKeeper
 */
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { sha256Hex } from './trust.mjs';
import { read, write } from './whole-file.mjs';

const LOOK_EVERY_MS = 60_000;
/** Of one kind; as many as one acknowledgement may name. */
const OFFERED_MAX = 32;

/**
 * @param {object} deps
 * @param {Pick<import('./config.mjs').Config, 'stateDir'>} deps.config
 * @param {Pick<import('./api.mjs').Api, 'anchors' | 'acknowledgeAnchors'>} deps.api
 * @param {() => Pick<import('./charon.mjs').Charon, 'anchors' | 'loadCa'>} deps.charon
 * @param {Pick<import('./crl-shelf.mjs').CrlShelf, 'knows'>} deps.shelf
 * @param {() => Promise<void>} deps.learnCrls  where the CRLs of CAs are that came since the feed last said
 * @param {(text: string) => void} deps.log
 * @param {() => number} [deps.now]
 */
export function makeAnchorKeeper({ config, api, charon, shelf, learnCrls, log, now = Date.now }) {
  const keptFile = join(config.stateDir, 'anchors.json');
  const acknowledged = new Set();
  /** What charon was given beside its anchors. @type {X509Certificate[]} */
  let links = [];

  /** The last answer, judged anew: a charon that starts while the server is dark must know the new root, too. */
  const offer = async () => {
    try {
      const kept = read(keptFile);
      if (kept !== null) await teach(JSON.parse(kept.toString('utf8')));
    } catch (error) {
      log(`${keptFile}: ${/** @type {Error} */ (error).message}; it is fetched anew`);
    }
  };

  /** @param {Anchors} offered @returns {Promise<X509Certificate[]>} what charon knows of it now */
  const teach = async (offered) => {
    const given = await charon().anchors();
    const reached = reachedFrom(
      given,
      offered.links.slice(0, OFFERED_MAX).map(certificateIn(({ newWithOld }) => newWithOld)),
      now(),
    );
    links = reached.filter((one) => !given.some((anchor) => isSameKey(anchor, one)));
    // Again and again: `swanctl --load-all --clear` forgets what stands in no file of its own.
    for (const link of links) await charon().loadCa(link.raw);
    const roots = offered.roots.slice(0, OFFERED_MAX).map(certificateIn(({ certificate }) => certificate));
    const cas = offered.cas.slice(0, OFFERED_MAX).map(certificateIn(({ certificate }) => certificate));
    return [
      ...roots.filter((root) => isSelfSigned(root) && reached.some((one) => isSameKey(one, root))),
      ...cas.filter((ca) => ca.ca && reached.some((one) => isIssuedBy(ca, one))),
    ];
  };

  /** @returns {Promise<X509Certificate[]>} roots and Device CAs that charon knows, and the server knows that it does */
  const look = async () => {
    const offered = await api.anchors();
    const known = await teach(offered);
    const hashes = known.map(({ raw }) => sha256Hex(raw));
    const fresh = hashes.filter((hash) => !acknowledged.has(hash));
    if (fresh.length === 0) return known;
    write(keptFile, Buffer.from(JSON.stringify(offered)));
    await api.acknowledgeAnchors(fresh);
    for (const hash of fresh) acknowledged.add(hash);
    for (const { subject, raw } of known)
      if (fresh.includes(sha256Hex(raw))) log(`acknowledged ${subject.replaceAll('\n', ', ')}`);
    return known;
  };

  const round = async () => {
    try {
      const known = await look();
      if (known.some((ca) => !isSelfSigned(ca) && !shelf.knows(ca))) await learnCrls();
    } catch (error) {
      log(`the anchors: ${/** @type {Error} */ (error).message}`);
    }
  };

  return {
    offer,
    look,
    /** Certificates of roots under those that charon has as anchors. */
    links: () => links,
    /** Once a minute. @param {AbortSignal} signal */
    startLooking: (signal) => {
      const timer = setInterval(round, LOOK_EVERY_MS);
      signal.addEventListener('abort', () => clearInterval(timer));
    },
    round,
  };
}

/**
 * The anchors, and what they have signed, directly or over roots in between.
 *
 * @param {readonly X509Certificate[]} anchors @param {readonly X509Certificate[]} offered @param {number} atMs
 */
function reachedFrom(anchors, offered, atMs) {
  const reached = anchors.filter((anchor) => isAlive(anchor, atMs));
  for (let before = 0; before < reached.length; ) {
    before = reached.length;
    for (const link of offered) {
      if (!link.ca || !isAlive(link, atMs) || reached.some((one) => isSameKey(one, link))) continue;
      if (reached.some((one) => isIssuedBy(link, one))) reached.push(link);
    }
  }
  return reached;
}

/** @template T @param {(offered: T) => string} pemOf @returns {(offered: T) => X509Certificate} */
function certificateIn(pemOf) {
  return (offered) => new X509Certificate(pemOf(offered));
}

/** @param {X509Certificate} one @param {X509Certificate} issuer */
function isIssuedBy(one, issuer) {
  return one.checkIssued(issuer) && one.verify(issuer.publicKey);
}

/** @param {X509Certificate} root */
function isSelfSigned(root) {
  return root.ca && isIssuedBy(root, root);
}

/** @param {X509Certificate} one @param {X509Certificate} other */
function isSameKey(one, other) {
  return one.subject === other.subject && one.publicKey.equals(other.publicKey);
}

/** @param {X509Certificate} certificate @param {number} atMs */
function isAlive({ validFrom, validTo }, atMs) {
  return Date.parse(validFrom) <= atMs && atMs <= Date.parse(validTo);
}
