/** When the snapshot is asked: a real HTTPS server that answers, is silent or fails, call by call; charon and nft are noted. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { certify, kitModule, type Party } from './kit.js';

const { makeAdmission } = await kitModule('admission');
const { makeApi } = await kitModule('api');

type Answer = 'silence' | 'hangs up' | number;

const dir = mkdtempSync(join(tmpdir(), 'fp-adm-'));
let server: Server;
let certificate: Party;
let url: string;
let answers: { authorise: Answer; probes: Answer };
let askedSnapshot = 0;

beforeAll(async () => {
  const root = await certify('CN=Root');
  certificate = await certify('CN=localhost', root, { dns: 'localhost' });
  const key = certificate.key.export({ type: 'pkcs8', format: 'pem' });
  for (const [name, content] of Object.entries({ root: root.pem, pem: certificate.pem, key: String(key) }))
    writeFileSync(join(dir, name), content);
  server = createServer({ cert: certificate.pem, key }, (request, response) => {
    request.resume();
    give(request.url === '/v1/authorise' ? answers.authorise : answers.probes, request, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `https://localhost:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  askedSnapshot = 0;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('whoever the server does not answer about', () => {
  test.each([
    ['one unit’s call is slow, another call is answered', 'silence', 200],
    ['one unit’s call is answered 503, another call is answered', 503, 200],
    ['one unit’s call is cut off, another call is answered', 'hangs up', 200],
    ['one unit’s call is slow, another call is refused', 'silence', 403],
    ['the call is refused, and nobody answers another', 403, 'silence'],
    ['the call is answered with what is no decision, and nobody answers another', 200, 'silence'],
  ] as const)('is cut without a look at the snapshot: %s', async (_, authorise, probes) => {
    expect(await admitted({ authorise, probes })).toMatchObject({
      permits: 0,
      cut: 1,
      said: expect.stringMatching(/cut: no answer/),
    });
    expect(askedSnapshot).toBe(0);
  });

  test.each([
    ['both calls are slow', 'silence', 'silence'],
    ['both are answered 503', 503, 503],
    ['both are cut off', 'hangs up', 'hangs up'],
  ] as const)('is judged by the snapshot: %s', async (_, authorise, probes) => {
    expect(await admitted({ authorise, probes })).toMatchObject({
      permits: 1,
      cut: 0,
      said: expect.stringMatching(/permit .*snapshot/),
    });
    const denied = await admitted({ authorise, probes, reasons: ['SNAPSHOT_STALE'] });
    expect(denied).toMatchObject({
      permits: 0,
      cut: 1,
      said: expect.stringMatching(/denied, by the snapshot: SNAPSHOT_STALE/),
    });
  });

  test('is cut where the snapshot is switched off', async () => {
    const dark = { authorise: 'silence', probes: 'silence', isOff: true } as const;
    expect(await admitted(dark)).toMatchObject({ permits: 0, cut: 1, said: expect.stringMatching(/cut: no answer/) });
  });
});

/** One IKE_SA comes up. */
async function admitted(how: { authorise: Answer; probes: Answer; reasons?: string[]; isOff?: boolean }) {
  answers = how;
  const sa = { id: '1', connection: 'femto', spis: '0'.repeat(32), identity: 'unit', address: '198.51.100.7' };
  const [inner, children] = [['10.128.0.1'], ['1']];
  let said = '';
  const counted = { permits: 0, cut: 0 };
  let over = () => {};
  const done = new Promise<void>((resolve) => {
    over = resolve;
  });
  const api = makeApi({
    config: {
      gateway: 'g',
      api: { url, servicesRoot: join(dir, 'root'), certificate: join(dir, 'pem'), key: join(dir, 'key') },
    },
    trust: { decision: () => ({ verdict: 'nothing of the kind' }) },
  });
  const admission = makeAdmission({
    config: { connections: [], authoriseTimeoutMs: 300, permitSecondsMax: 60 },
    api,
    snapshots: how.isOff
      ? null
      : {
          decide: () => {
            askedSnapshot += 1;
            const reasons = how.reasons ?? [];
            return { verdict: reasons.length === 0 ? 'permit' : 'deny', reasons, ttlSeconds: 60 };
          },
        },
    permits: {
      put: async () => {
        counted.permits += 1;
        over();
      },
      drop: async () => undefined,
    },
    state: { keep: () => undefined, forget: () => undefined },
    charon: () => ({
      sas: async () => [{ ...sa, inner, children }],
      certificates: async () => ({ ders: [certificate.der], isSure: true }),
      flush: async () => undefined,
      terminate: async () => {
        counted.cut += 1;
        over();
      },
    }),
    heard: () => ({ epoch: 0, seq: 0 }),
    tell: () => undefined,
    log: (text: string) => {
      said += `${text}\n`;
    },
  });
  admission.take({ kind: 'up', sa: { ...sa, inner, children } });
  await done;
  admission.close();
  api.close();
  return { ...counted, said };
}

function give(answer: Answer, _: IncomingMessage, response: ServerResponse): void {
  if (answer === 'silence') return;
  if (answer === 'hangs up') response.destroy();
  else response.writeHead(answer).end('{"probes":[]}');
}
