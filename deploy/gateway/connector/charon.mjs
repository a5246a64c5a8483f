/** What the connector asks of charon, in its own words. */
import { X509Certificate } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { openVici } from './vici-client.mjs';
import { sectionsOf, textOf, textsOf } from './vici-message.mjs';

const EVENTS = ['ike-updown', 'ike-rekey', 'child-updown', 'child-rekey'];
/**
 * Charon keeps the chains that it verified in 32 places, two for a unit, and replaces them at random. Near that, what was
 * there a moment ago may be gone, and then what is left is no proof of what was shown.
 */
const CACHED_LEAVES_SURE_MAX = 12;

/**
 * @typedef {import('./vici-message.mjs').ViciSection} ViciSection
 * @typedef {object} Sa
 * @property {string} id  charon's number of the IKE_SA
 * @property {string} connection
 * @property {string} spis  initiator's and responder's, 32 hex digits
 * @property {string} identity  as authenticated
 * @property {string} address  outer
 * @property {string[]} inner  virtual addresses
 * @property {string[]} children  charon's numbers of its CHILD_SAs
 * @typedef {{ kind: 'up' | 'down' | 'child-up' | 'child-rekey', sa: Sa } | { kind: 'rekey', was: string, sa: Sa }} CharonEvent
 * @typedef {object} Charon
 * @property {(id?: string) => Promise<Sa[]>} sas  those that are established
 * @property {(identity: string) => Promise<{ ders: Buffer[], isSure: boolean }>} certificates
 *   those in charon's cache that name the identity; isSure: none can have fallen out of it
 * @property {(id: string) => Promise<void>} terminate  does not wait for the peer
 * @property {(child: string) => Promise<void>} rekeyChild
 * @property {(type: 'x509' | 'x509_crl' | 'ocsp_response') => Promise<void>} flush
 * @property {() => Promise<X509Certificate[]>} anchors  the self-signed certificates that it was given
 * @property {(der: Buffer) => Promise<void>} loadCa  as one in between: only a self-signed one ends a chain
 * @property {(issuer: string, caDer: Buffer, file: string) => Promise<void>} offerCrl  where the CRL of a CA lies, in DER
 * @property {Promise<Error>} closed
 * @property {() => void} close
 */

/**
 * @param {string} path
 * @param {(event: CharonEvent) => void} onEvent
 * @returns {Promise<Charon>}
 */
export async function openCharon(path, onEvent) {
  const events = await openVici(path, (name, message) => {
    const event = eventOf(name, message);
    if (event !== null) onEvent(event);
  });
  const commands = await openVici(path);
  // A cut must not wait behind a list.
  const cuts = await openVici(path);
  const all = [events, commands, cuts];
  const close = () => {
    for (const client of all) client.close();
  };
  for (const name of EVENTS) await events.listen(name);

  return {
    sas: async (id) => {
      const answer = await commands.ask('list-sas', id === undefined ? {} : { 'ike-id': id }, 'list-sa');
      const found = answer.slice(0, -1).flatMap(sectionsOf);
      const sas = found.filter(([, sa]) => textOf(sa, 'state') === 'ESTABLISHED').map(saOf);
      // A charon that does not know the selector lists everybody.
      return id === undefined ? sas : sas.filter((sa) => sa.id === id);
    },
    certificates: async (identity) => {
      const answer = await commands.ask('list-certs', { type: 'X509' }, 'list-cert');
      const ders = new Map();
      let leaves = 0;
      for (const message of answer.slice(0, -1)) {
        const data = message.get('data');
        if (!Buffer.isBuffer(data) || message.has('has_privkey')) continue;
        const certificate = new X509Certificate(data);
        if (certificate.ca) continue;
        leaves += 1;
        if (namesOf(certificate).includes(identity.toLowerCase())) ders.set(certificate.fingerprint256, data);
      }
      return { ders: [...ders.values()], isSure: leaves <= CACHED_LEAVES_SURE_MAX };
    },
    terminate: async (id) => {
      await cuts.ask('terminate', { 'ike-id': id, force: 'yes', timeout: '-1' });
    },
    rekeyChild: async (child) => {
      await commands.ask('rekey', { 'child-id': child });
    },
    flush: async (type) => {
      await commands.ask('flush-certs', { type });
    },
    anchors: async () => {
      const answer = await commands.ask('list-certs', { type: 'X509', flag: 'CA' }, 'list-cert');
      const roots = answer
        .slice(0, -1)
        .map((message) => new X509Certificate(/** @type {Buffer} */ (message.get('data'))));
      return roots.filter((root) => root.ca && root.checkIssued(root) && root.verify(root.publicKey));
    },
    loadCa: async (der) => {
      await commands.ask('load-cert', { type: 'X509', flag: 'CA', data: der });
    },
    offerCrl: async (issuer, caDer, file) => {
      // A CRL itself would have to fit into 65,535 octets, and no flush would ever take it out again.
      await commands.ask('load-authority', {
        [`femtopki-${issuer}`]: { cacert: caDer, crl_uris: [pathToFileURL(file).href] },
      });
    },
    closed: Promise.race(all.map(({ closed }) => closed)).then((error) => {
      close();
      return error;
    }),
    close,
  };
}

/** @param {string} name @param {ViciSection} message @returns {CharonEvent | null} */
function eventOf(name, message) {
  const [first] = sectionsOf(message);
  if (first === undefined) return null;
  const [connection, section] = first;
  const isUp = textOf(message, 'up') === 'yes';
  if (name === 'ike-rekey') {
    const [was, now] = [section.get('old'), section.get('new')];
    if (!(was instanceof Map) || !(now instanceof Map)) return null;
    return { kind: 'rekey', was: textOf(was, 'uniqueid'), sa: saOf([connection, now]) };
  }
  const sa = saOf([connection, section]);
  if (name === 'ike-updown') return { kind: isUp ? 'up' : 'down', sa };
  if (name === 'child-updown') return isUp ? { kind: 'child-up', sa } : null;
  return name === 'child-rekey' ? { kind: 'child-rekey', sa } : null;
}

/** @param {[string, ViciSection]} named @returns {Sa} */
function saOf([connection, sa]) {
  const children = sa.get('child-sas');
  return {
    id: textOf(sa, 'uniqueid'),
    connection,
    spis: `${textOf(sa, 'initiator-spi')}${textOf(sa, 'responder-spi')}`,
    identity: textOf(sa, 'remote-id'),
    address: textOf(sa, 'remote-host').split('%')[0] ?? '',
    inner: textsOf(sa, 'remote-vips'),
    children: children instanceof Map ? sectionsOf(children).map(([, child]) => textOf(child, 'uniqueid')) : [],
  };
}

/** @param {X509Certificate} certificate @returns {string[]} */
function namesOf({ subjectAltName = '' }) {
  return subjectAltName
    .split(', ')
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice(4).toLowerCase());
}
