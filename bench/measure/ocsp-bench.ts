import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runClient } from '../../test/support/command.js';
import { HttpLine } from '../load/http-line.js';
import { benchSerial, type OcspQuestions, ocspRequest } from '../load/ocsp-requests.js';
import type { BenchContext, Measurement, Round } from '../scenario.js';
import type { OcspPortOptions, OcspPortReady, OcspPortState } from '../servers/ocsp-port.js';
import { httpRound } from './http-rounds.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from './pinned-process.js';
import { interleaved } from './rounds.js';

export interface OcspBench {
  readonly port: OcspPortOptions;
  readonly questions: Pick<OcspQuestions, 'method' | 'zipf' | 'unknownShare' | 'hasNonce'>;
  /** Asked before the clock starts, until the cache grows no more or so many seconds have passed. */
  readonly warmUpSecondsMax: number;
  /** Looks at the rounds of the product, e.g. at hits: the port's state before and after each. */
  readonly onRound?: (before: OcspPortState, after: OcspPortState, shortShare: number) => void;
  /** Serials to ask openssl about afterwards, by number, with the word it must say. */
  readonly samples: readonly { readonly number: number; readonly says: RegExp }[];
}

const CONNECTIONS = 32;
/** Of one round, drawn anew for each. */
const QUESTIONS = 20_000;
/** Where not all is in memory: more than are answered, for one that comes again within a round would be. */
const ZIPF_QUESTIONS_PER_SECOND = 40_000;

/** OCSP over HTTP against bare node:http with the same bytes and headers, and what the answers are worth. */
export async function runOcspBench({ rounds, seconds, say }: BenchContext, bench: OcspBench): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const file = new URL('../servers/ocsp-port.ts', import.meta.url);
  const product = startPinned(file, SERVER_CORE, [dir, JSON.stringify(bench.port)]);
  const generator = startPinned(new URL('../load/http-load.ts', import.meta.url), GENERATOR_CORE);
  const children: PinnedProcess[] = [product, generator];
  try {
    const ready = await product.next<OcspPortReady>();
    const { certificates: serials } = bench.port;
    const count = bench.questions.zipf === undefined ? QUESTIONS : Math.ceil(ZIPF_QUESTIONS_PER_SECOND * (seconds + 1));
    const ocsp = { ...ready, ...bench.questions, serials, count };
    const answerFile = join(dir, 'answer.json');
    writeFileSync(answerFile, JSON.stringify(await capture(ready.port, ocspRequest(ocsp, serials))));
    const limit = startPinned(new URL('../limits/bare-http.ts', import.meta.url), SERVER_CORE, [answerFile]);
    children.push(limit);
    const bare = await limit.next<{ port: number }>();
    const order = { connections: CONNECTIONS, seconds, requestsFile: '', ocsp };
    const ofProduct = async (): Promise<Round> => {
      const before = await stateOf(product);
      const round = await httpRound(generator, product, { ...order, port: ready.port });
      bench.onRound?.(before, await stateOf(product), round.shortShare);
      return round;
    };
    await warmUp(product, bench.warmUpSecondsMax, () => httpRound(generator, product, { ...order, port: ready.port }));
    const ofLimit = (): Promise<Round> => httpRound(generator, limit, { ...order, port: bare.port });
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    return { ...measured, checks: await checks(dir, ready, product, bench.samples) };
  } finally {
    await Promise.all(children.map((child) => child.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

export async function stateOf(product: PinnedProcess): Promise<OcspPortState> {
  product.send('state');
  return product.next<OcspPortState>();
}

/** Asks until whatever will be kept is kept. */
async function warmUp(product: PinnedProcess, secondsMax: number, round: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + secondsMax * 1_000;
  for (let kept = -1; Date.now() < end; ) {
    await round();
    const { answers } = await stateOf(product);
    if (answers <= kept * 1.01) return;
    kept = answers;
  }
}

async function checks(
  dir: string,
  ready: OcspPortReady,
  product: PinnedProcess,
  samples: OcspBench['samples'],
): Promise<Measurement['checks']> {
  const found: { what: string; ok: boolean }[] = [];
  for (const { number, says } of samples) {
    const text = await opensslOcsp(dir, ready.port, benchSerial(number, ready.hour).toString('hex'));
    found.push({ what: `openssl verifies number ${number}: ${says.source}`, ok: isVerified(text) && says.test(text) });
  }
  const before = await opensslOcsp(dir, ready.port, ready.firstSerialHex);
  product.send('revoke');
  await product.next();
  await sleep(1_000);
  const after = await opensslOcsp(dir, ready.port, ready.firstSerialHex);
  found.push({
    what: 'a revocation is seen within a second',
    ok: isVerified(before) && before.includes(': good') && isVerified(after) && after.includes(': revoked'),
  });
  return found;
}

function isVerified(text: string): boolean {
  return text.includes('Response verify OK');
}

async function opensslOcsp(dir: string, port: number, serialHex: string): Promise<string> {
  const ca = ['-issuer', join(dir, 'device-ca-1.pem'), '-CAfile', join(dir, 'access-root.pem')];
  const url = `http://127.0.0.1:${port}/ocsp`;
  return (await runClient('openssl', ['ocsp', ...ca, '-serial', `0x${serialHex}`, '-no_nonce', '-url', url])).text;
}

/** The product's own answer, header by header: the limit writes the same bytes. */
async function capture(port: number, request: Buffer): Promise<{ headers: string[]; body: string }> {
  const line = new HttpLine(() => connect({ port, host: '127.0.0.1' }), 'connect');
  const { head, body } = await line.ask(request);
  line.end();
  const headers = head
    .split('\r\n')
    .slice(1)
    .map((text) => [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 2)])
    // node:http writes these by itself on both sides.
    .filter(([name = '']) => !/^(date|connection|keep-alive)$/i.test(name))
    .flat();
  return { headers, body: body.toString('base64') };
}
