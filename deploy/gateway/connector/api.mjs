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
const CONNECTIONS_MAX = 32;

/**
 * @typedef {{ verdict: 'permit' | 'restricted' | 'deny', reasons: string[], ttlSeconds: number, position: { epoch: number, seq: number } }} Decision
 * @typedef {ReturnType<typeof makeApi>} Api
 */

/**
 * @param {{ config: import('./config.mjs').Config, trust: import('./trust.mjs').Trust }} options
 */
export function makeApi({ config, trust }) {
  let agent = agentOf(config);
  let stamp = stampOf(config);
  /** A renewed certificate is used from the next connection on. */
  const refresh = () => {
    const now = stampOf(config);
    if (now === stamp) return;
    const before = agent;
    agent = agentOf(config);
    stamp = now;
    before.destroy();
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
    throw new Error(`${path.split('?')[0]} answered ${status}: ${detailOf(text)}`);
  };

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
    /** @param {string} url @returns {Promise<Buffer>} */
    crl: async (url) => {
      const { status, bytes } = await request(url, { timeoutMs: FETCH_MS_MAX, bytesMax: CRL_BYTES_MAX });
      if (status !== 200) throw new Error(`${url} answered ${status}`);
      return bytes;
    },
    close: () => agent.destroy(),
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
 * @param {{ agent?: https.Agent, body?: string, timeoutMs: number, bytesMax: number }} options  timeoutMs: for the whole answer
 * @returns {Promise<{ status: number, bytes: Buffer }>}
 */
function request(url, { agent, body, timeoutMs, bytesMax }) {
  return new Promise((done, fail) => {
    const sinceMs = performance.now();
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const options = { method: body === undefined ? 'GET' : 'POST', headers, ...(agent ? { agent } : {}) };
    const call = (url.startsWith('https:') ? https : http).request(url, options, (response) => {
      const parts = /** @type {Buffer[]} */ ([]);
      let length = 0;
      response.on('data', (part) => {
        length += part.length;
        if (length > bytesMax) call.destroy(new Error(`the answer has more than ${bytesMax} octets`));
        else parts.push(part);
      });
      response.once('error', fail);
      response.once('end', () => done({ status: response.statusCode ?? 0, bytes: Buffer.concat(parts) }));
    });
    const limit = setTimeout(() => call.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    call.once('close', () => clearTimeout(limit));
    call.once('error', (error) => {
      // The server closed a resting connection as we took it up: nothing was read there, and it may be said again.
      const isStale = call.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(String(/** @type {any} */ (error).code));
      const leftMs = Math.floor(timeoutMs - (performance.now() - sinceMs));
      if (!isStale || leftMs <= 0) return fail(error);
      request(url, {
        ...(agent ? { agent } : {}),
        ...(body === undefined ? {} : { body }),
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
