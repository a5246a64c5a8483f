import { readFileSync } from 'node:fs';

/**
 * @typedef {object} Config
 * @property {string} gateway  the name that `femtopki gateway add` was given
 * @property {{ url: string, servicesRoot: string, intermediates: string, certificate: string, key: string }} api
 *   url = the gateway port; the rest are PEM files: its root, the CAs under it, and this gateway's own pair
 * @property {string} vici  unix socket of charon
 * @property {string[]} connections  names of the connections whose units are admitted; empty = all
 * @property {{ table: string, program: string }} nft  `inet` table with the sets
 * @property {string} stateDir  0700; the feed's position, the snapshot, and which certificate each session showed
 * @property {string} crlDir  where charon may read: the CRL of each CA, kept fresh
 * @property {number} authoriseTimeoutMs  100 to 800: whoever gets no answer is gone within a second
 * @property {number} permitSecondsMax  2 to 900: a permit is never used longer, however long it holds
 * @property {number} snapshotSeconds  10 to 900: how often the snapshot is fetched; 0: none is, and nobody comes in without the server
 * @property {boolean} probes  answer whether a session is alive (a CHILD_SA is rekeyed for it)
 */

const DEFAULTS = {
  vici: '/var/run/charon.vici',
  connections: [],
  nft: { table: 'femtopki', program: '/usr/sbin/nft' },
  stateDir: '/var/lib/femtopki-connector',
  crlDir: '/var/lib/strongswan',
  authoriseTimeoutMs: 700,
  permitSecondsMax: 900,
  snapshotSeconds: 300,
  probes: true,
};

/**
 * @param {string} file  JSON
 * @returns {Config}
 * @throws Error with every fault, one a line
 */
export function readConfig(file) {
  let given;
  try {
    given = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file}: ${/** @type {Error} */ (error).message}`);
  }
  const faults = /** @type {string[]} */ ([]);
  const config = { ...DEFAULTS, ...given, nft: { ...DEFAULTS.nft, ...given.nft } };
  checkNames(given, ['gateway', 'api', ...Object.keys(DEFAULTS)], '', faults);
  checkNames(given.nft ?? {}, Object.keys(DEFAULTS.nft), 'nft.', faults);
  const text = (/** @type {string} */ name, /** @type {unknown} */ value) => {
    if (typeof value !== 'string' || value === '') faults.push(`${name}: must be a text`);
  };
  text('gateway', config.gateway);
  text('vici', config.vici);
  text('stateDir', config.stateDir);
  text('crlDir', config.crlDir);
  text('nft.program', config.nft.program);
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,30}$/.test(config.nft.table)) faults.push('nft.table: must be the name of a table');
  if (
    !Array.isArray(config.connections) ||
    config.connections.some((/** @type {unknown} */ one) => typeof one !== 'string')
  )
    faults.push('connections: must be a list of names');
  whole('authoriseTimeoutMs', config.authoriseTimeoutMs, 100, 800, faults);
  whole('permitSecondsMax', config.permitSecondsMax, 2, 900, faults);
  if (config.snapshotSeconds !== 0) whole('snapshotSeconds', config.snapshotSeconds, 10, 900, faults);
  if (typeof config.probes !== 'boolean') faults.push('probes: must be true or false');
  checkApi(config.api, faults);
  if (faults.length > 0) throw new Error(faults.map((fault) => `${file}: ${fault}`).join('\n'));
  return config;
}

/** @param {any} api @param {string[]} faults */
function checkApi(api, faults) {
  const files = ['servicesRoot', 'intermediates', 'certificate', 'key'];
  if (typeof api !== 'object' || api === null) {
    faults.push(`api: must have url, ${files.join(', ')}`);
    return;
  }
  checkNames(api, ['url', ...files], 'api.', faults);
  if (!URL.canParse(api.url) || new URL(api.url).protocol !== 'https:' || api.url.endsWith('/'))
    faults.push('api.url: must be https://host:port without a path');
  for (const name of files) {
    try {
      readFileSync(api[name]);
    } catch (error) {
      faults.push(`api.${name}: cannot be read: ${/** @type {Error} */ (error).message}`);
    }
  }
}

/** @param {object} given @param {string[]} known @param {string} prefix @param {string[]} faults */
function checkNames(given, known, prefix, faults) {
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) faults.push(`${prefix}${name}: is not known; there are ${known.join(', ')}`);
  }
}

/** @param {string} name @param {unknown} value @param {number} min @param {number} max @param {string[]} faults */
function whole(name, value, min, max, faults) {
  if (!Number.isInteger(value) || Number(value) < min || Number(value) > max)
    faults.push(`${name}: must be a whole number from ${min} to ${max}`);
}
