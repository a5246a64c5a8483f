/** Calls to the gateway port over mTLS, and fetches of CRLs. Every call has a limit of time and of octets. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { sha256Hex } from './trust.mjs';

const ANSWER_BYTES_MAX = 1024 * 1024;
const CRL_BYTES_MAX = 256 * 1024 * 1024;
const CALL_MS_MAX = 5_000;
const FETCH_MS_MAX = 30_000;
const SNAPSHOT_BYTES_MAX = 1024 * 1024 * 1024;
const SNAPSHOT_MS_MAX = 120_000;
const CONNECTIONS_MAX = 32;

/** Nobody answered, or only that nothing can be said now (5xx). */
export class Silence extends Error {}

/**
 * @typedef {{ verdict: 'permit' | 'restricted' | 'deny', reasons: string[], ttlSeconds: number, position: { epoch: number, seq: number } }} Decision
 * @typedef {ReturnType<typeof makeApi>} Api
 */

/**
 * @param {{ config: import('./config.mjs').Config, trust: import('./trust.mjs').Trust }} options
 */
export function makeApi({ config, trust }) {
  let agent = agentOf(config);
  let healthAgent = agentOf(config);
  let stamp = stampOf(config);
  /** A renewed certificate is used from the next connection on. */
  const refresh = () => {
    const now = stampOf(config);
    if (now === stamp) return;
    const before = [agent, healthAgent];
    [agent, healthAgent] = [agentOf(config), agentOf(config)];
    stamp = now;
    for (const old of before) old.destroy();
  };

  const call = async (/** @type {string} */ path, /** @type {unknown} */ body, timeoutMs = CALL_MS_MAX) => {
    const { status, bytes } = await request(`${config.api.url}${path}`, {
      agent,
      timeoutMs,
      bytesMax: ANSWER_BYTES_MAX,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = bytes.toString('utf8');
    if (status === 200) return text;
    const what = `${path.split('?')[0]} answered ${status}: ${detailOf(text)}`;
    throw status >= 500 ? new Silence(what) : new Error(what);
  };

  /** On a connection of its own: many units that come at once must not make the server look silent. */
  const health = async (/** @type {number} */ timeoutMs) => {
    try {
      const { status } = await request(`${config.api.url}/v1/probes`, {
        agent: healthAgent,
        timeoutMs,
        bytesMax: ANSWER_BYTES_MAX,
      });
      return status >= 500;
    } catch (error) {
      return error instanceof Silence;
    }
  };
  /** @type {Promise<boolean> | null} */
  let asked = null;

  return {
    refresh,
    /**
     * @param {{ stage: 'ike' | 'registration' | 'config', certificateDer: Buffer, identity: string, address: string, keyProved: boolean, cell?: string, timeoutMs: number }} about
     * @returns {Promise<Decision>}  believed: signature, chain, nonce, gateway, certificate and stage were checked
     */
    authorise: async ({ certificateDer, timeoutMs, ...about }) => {
      const nonce = randomBytes(16).toString('hex');
      const certificate = certificateDer.toString('base64');
      const body = { ...about, certificate, nonce };
      const answer = JSON.parse(await call('/v1/authorise', body, timeoutMs));
      const signature = Buffer.from(String(answer.signature), 'base64');
      const decision = /** @type {any} */ (
        trust.decision(String(answer.decision), signature, String(answer.certificate))
      );
      const wanted = {
        nonce,
        gateway: config.gateway,
        certificateSha256: sha256Hex(certificateDer),
        stage: about.stage,
      };
      for (const [name, value] of Object.entries(wanted)) {
        if (decision[name] !== value) throw new Error(`the decision is about another ${name}`);
      }
      if (!['permit', 'restricted', 'deny'].includes(decision.verdict)) throw new Error('the decision is none');
      if (!Number.isSafeInteger(decision.ttlSeconds) || decision.ttlSeconds < 0) throw new Error('the TTL is none');
      return decision;
    },
    /** @param {string} after @param {number} waitSeconds */
    page: async (after, waitSeconds) => {
      const nonce = randomBytes(16).toString('hex');
      const query = new URLSearchParams({ after, nonce, wait: String(waitSeconds) });
      const page = trust.page(await call(`/v1/feed?${query}`, undefined, waitSeconds * 1_000 + CALL_MS_MAX));
      if (page.nonce !== nonce || page.gateway !== config.gateway || page.from !== after) {
        throw new Error('the page of the feed is an answer to somebody else');
      }
      return page;
    },
    /** @param {string} position @param {'received' | 'enforced'} stage */
    acknowledge: async (position, stage) => void (await call('/v1/feed/acks', { position, stage })),
    /** @param {string} stream @param {readonly object[]} events */
    report: async (stream, events) => JSON.parse(await call('/v1/session-events', { stream, events })),
    /** @returns {Promise<{ id: string, session: string, nonce: string, askBefore: string }[]>} */
    probes: async () => JSON.parse(await call('/v1/probes', undefined)).probes,
    /** @param {{ id: string, session: string, nonce: string, alive: boolean }} answer */
    answerProbe: async (answer) => void (await call('/v1/probes', answer)),
    /** @returns {Promise<import('./anchors.mjs').Anchors>}  not believed yet */
    anchors: async () => JSON.parse(await call('/v1/anchors', undefined)),
    /** @param {readonly string[]} certificates  SHA-256, hex */
    acknowledgeAnchors: async (certificates) => void (await call('/v1/anchors/acks', { certificates })),
    /** @param {string} url @param {string} etag  of what is there already @returns {Promise<{ der: Buffer | null, etag: string }>} null: the same */
    crl: async (url, etag) => {
      const headers = etag === '' ? {} : { 'if-none-match': etag };
      const { status, bytes, tag } = await request(url, { timeoutMs: FETCH_MS_MAX, bytesMax: CRL_BYTES_MAX, headers });
      if (status !== 200 && status !== 304) throw new Error(`${url} answered ${status}`);
      return { der: status === 304 ? null : bytes, etag: tag || etag };
    },
    /**
     * Is the server dark for everybody? Another question than a unit's own call: that one is slow or fails for many reasons,
     * some of them the unit's choice. Any answer below 500 says that it is not. Those who ask at once are told together.
     *
     * @param {number} timeoutMs
     */
    isDark: (timeoutMs) => {
      asked ??= health(timeoutMs).finally(() => {
        asked = null;
      });
      return asked;
    },
    /** @param {string} nonce @returns {Promise<Buffer>}  not believed yet */
    snapshot: async (nonce) => {
      const { status, bytes } = await request(`${config.api.url}/v1/snapshot?nonce=${nonce}`, {
        agent,
        timeoutMs: SNAPSHOT_MS_MAX,
        bytesMax: SNAPSHOT_BYTES_MAX,
      });
      if (status !== 200) throw new Error(`/v1/snapshot answered ${status}: ${detailOf(bytes.toString('utf8'))}`);
      return bytes;
    },
    close: () => {
      agent.destroy();
      healthAgent.destroy();
    },
  };
}

/** @param {import('./config.mjs').Config} config */
function agentOf({ api }) {
  return new https.Agent({
    ca: readFileSync(api.servicesRoot),
    cert: readFileSync(api.certificate),
    key: readFileSync(api.key),
    keepAlive: true,
    maxSockets: CONNECTIONS_MAX,
    minVersion: 'TLSv1.2',
  });
}

/** @param {import('./config.mjs').Config} config */
function stampOf({ api }) {
  return [api.certificate, api.key].map((file) => statSync(file).mtimeMs).join();
}

/**
 * @param {string} url
 * @param {{ agent?: https.Agent, body?: string, headers?: Record<string, string>, timeoutMs: number, bytesMax: number }} call
 *   timeoutMs: for the whole answer
 * @returns {Promise<{ status: number, tag: string, bytes: Buffer }>}  tag: the ETag; rejects with a Silence where nobody answered
 */
function request(url, { agent, body, headers: more = {}, timeoutMs, bytesMax }) {
  return new Promise((done, fail) => {
    const sinceMs = performance.now();
    let isOver = false;
    const headers = { ...more, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const options = { method: body === undefined ? 'GET' : 'POST', headers, ...(agent ? { agent } : {}) };
    const call = (url.startsWith('https:') ? https : http).request(url, options, (response) => {
      const parts = /** @type {Buffer[]} */ ([]);
      let length = 0;
      response.on('data', (part) => {
        length += part.length;
        if (length > bytesMax) call.destroy(new Error(`the answer has more than ${bytesMax} octets`));
        else parts.push(part);
      });
      response.once('error', (error) => fail(new Silence(error.message)));
      response.once('end', () => {
        isOver = true;
        done({ status: response.statusCode ?? 0, tag: response.headers.etag ?? '', bytes: Buffer.concat(parts) });
      });
    });
    const giveUp = () => {
      if (!isOver) call.destroy(new Silence(`no answer within ${timeoutMs} ms`));
    };
    // Where this program was busy itself the answer may lie there unread: what has come is read before anything is concluded.
    const limit = setTimeout(() => setImmediate(() => setImmediate(giveUp)), timeoutMs);
    call.once('close', () => {
      isOver = true;
      clearTimeout(limit);
    });
    call.once('error', (error) => {
      // The server closed a resting connection as we took it up: nothing was read there, and it may be said again.
      const isStale = call.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(String(/** @type {any} */ (error).code));
      const leftMs = Math.floor(timeoutMs - (performance.now() - sinceMs));
      if (!isStale || leftMs <= 0) return fail('code' in error ? new Silence(error.message) : error);
      request(url, {
        ...(agent ? { agent } : {}),
        ...(body === undefined ? {} : { body }),
        headers: more,
        timeoutMs: leftMs,
        bytesMax,
      }).then(done, fail);
    });
    call.end(body);
  });
}

/** @param {string} text */
function detailOf(text) {
  try {
    const { code, detail } = JSON.parse(text);
    return `${code} ${detail}`.slice(0, 300);
  } catch {
    return text.slice(0, 100);
  }
}
