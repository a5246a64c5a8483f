import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runClient } from '../../test/support/command.js';
import { httpRound } from '../measure/http-rounds.js';
import { GENERATOR_CORE, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Scenario } from '../scenario.js';
import type { OcspPortReady } from '../servers/ocsp-port.js';

/** OCSP answers from memory: 1,000 certificates, POST without nonce as gateways send it, against bare node:http. */
export const scenario: Scenario = { name: 'ocsp-cached', unit: 'answers/s', limit: 'bare-http', run };

const CONNECTIONS = 32;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const product = startPinned(new URL('../servers/ocsp-port.ts', import.meta.url), SERVER_CORE, [dir]);
  const generator = startPinned(new URL('../load/http-load.ts', import.meta.url), GENERATOR_CORE);
  const ready = await product.next<OcspPortReady>();
  const sample = await capture(ready);
  const answerFile = join(dir, 'answer.json');
  writeFileSync(answerFile, JSON.stringify(sample));
  const limit = startPinned(new URL('../limits/bare-http.ts', import.meta.url), SERVER_CORE, [answerFile]);
  const bare = await limit.next<{ port: number }>();
  try {
    const order = { connections: CONNECTIONS, seconds, requestsFile: ready.requestsFile };
    const signedBefore = await warmUp(product, () => httpRound(generator, product, { ...order, port: ready.port }));
    const measured = await interleaved(
      rounds,
      {
        product: () => httpRound(generator, product, { ...order, port: ready.port }),
        limit: () => httpRound(generator, limit, { ...order, port: bare.port }),
      },
      say,
    );
    const signedAfter = await ask<number>(product, 'signed');
    return { ...measured, checks: await checks(dir, ready, product, signedAfter - signedBefore) };
  } finally {
    await Promise.all([product.end(), limit.end(), generator.end()]);
    rmSync(dir, { recursive: true, force: true });
  }
}

async function checks(
  dir: string,
  ready: OcspPortReady,
  product: ReturnType<typeof startPinned>,
  signedMeanwhile: number,
): Promise<Measurement['checks']> {
  const before = await openssl(dir, ready);
  await ask(product, 'revoke');
  await sleep(1_000);
  const after = await openssl(dir, ready);
  return [
    { what: 'nothing was signed while measuring', ok: signedMeanwhile === 0 },
    { what: 'openssl verifies the answer', ok: before.includes('Response verify OK') && before.includes(': good') },
    {
      what: 'a revocation is seen within a second',
      ok: after.includes('Response verify OK') && after.includes(': revoked'),
    },
  ];
}

async function openssl(dir: string, { port, firstSerialHex }: OcspPortReady): Promise<string> {
  const url = `http://127.0.0.1:${port}/ocsp`;
  const ca = ['-issuer', join(dir, 'device-ca-1.pem'), '-CAfile', join(dir, 'access-root.pem')];
  return (await runClient('openssl', ['ocsp', ...ca, '-serial', `0x${firstSerialHex}`, '-no_nonce', '-url', url])).text;
}

/** Asks until every answer is signed and kept: on a slow machine that takes more than one round. */
async function warmUp(product: ReturnType<typeof startPinned>, round: () => Promise<unknown>): Promise<number> {
  for (let signedBefore = -1; ; ) {
    await round();
    const signed = await ask<number>(product, 'signed');
    if (signed === signedBefore) return signed;
    signedBefore = signed;
  }
}

function ask<T>(child: ReturnType<typeof startPinned>, order: string): Promise<T> {
  child.send(order);
  return child.next<T>();
}

/** The product's own answer, header by header: the limit writes the same bytes. */
async function capture({ port, requestsFile }: OcspPortReady): Promise<{ headers: string[]; body: string }> {
  const [first = ''] = JSON.parse(readFileSync(requestsFile, 'utf8')) as string[];
  const whole = Buffer.from(first, 'base64');
  const body = whole.subarray(whole.indexOf('\r\n\r\n') + 4);
  return new Promise((done, fail) => {
    const headers = { 'content-type': 'application/ocsp-request' };
    const outgoing = request({ port, host: '127.0.0.1', path: '/ocsp', method: 'POST', headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        done({ headers: withoutHopHeaders(response.rawHeaders), body: Buffer.concat(chunks).toString('base64') }),
      );
    });
    outgoing.once('error', fail);
    outgoing.end(body);
  });
}

/** node:http writes Date, Connection and Keep-Alive by itself on both sides. */
function withoutHopHeaders(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const [name = '', value = ''] = raw.slice(index, index + 2);
    if (!/^(date|connection|keep-alive)$/i.test(name)) kept.push(name, value);
  }
  return kept;
}
