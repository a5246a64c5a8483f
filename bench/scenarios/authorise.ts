import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpsLoadOrder, HttpsLoadResult } from '../load/https-load.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import { interleaved, median } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { GatewayPortChecked, GatewayPortReady } from '../servers/gateway-port.js';

/**
 * Authorise as gateways ask it after IKE AUTH, over a fleet of 300,000 units, against bare node:https over mTLS that writes
 * the same bytes. Gateway-server and the limit have one core each in turn; PostgreSQL shares
 * the other with the generator, and its CPU counts. The peer is the same with 10,000 units; how a
 * million does, and how long answers take at 1,000/s, is said beside it.
 */
export const scenario: Scenario = { name: 'authorise', unit: 'answers/s', limit: 'bare-https', run };

const CONNECTIONS = 64;
const PERMIT = '\\"verdict\\":\\"permit\\"';
const SIZES = [10_000, 300_000, 1_000_000] as const;
/** Enough to see that everything works. */
const SIZES_QUICK = [100, 300, 1_000] as const;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const sizes = seconds < 1 ? SIZES_QUICK : SIZES;
  const product = startPinned(new URL('../servers/gateway-port.ts', import.meta.url), SERVER_CORE, [
    dir,
    ...sizes.map(String),
  ]);
  let generator: PinnedProcess | undefined;
  let limit: PinnedProcess | undefined;
  try {
    const { tls, server, fleets } = await product.next<GatewayPortReady>();
    const [small, middle, large] = fleets as [Fleet, Fleet, Fleet];
    writeFileSync(join(dir, 'client.json'), JSON.stringify(tls));
    writeFileSync(join(dir, 'answer.json'), JSON.stringify({ ...server, ...(await capture(tls, middle)) }));
    generator = startPinned(new URL('../load/https-load.ts', import.meta.url), GENERATOR_CORE, [
      join(dir, 'client.json'),
    ]);
    limit = startPinned(new URL('../limits/bare-https.ts', import.meta.url), SERVER_CORE, [join(dir, 'answer.json')]);
    const bare = { ...middle, ...(await limit.next<{ port: number }>()) };
    const tally = new Map<number, number>([[middle.units, 1]]);
    const side = (load: PinnedProcess, server: PinnedProcess, fleet: Fleet) => async (): Promise<Round> =>
      roundOf(load, server, { ...orderOf(fleet), seconds }, tally, server === product ? fleet.units : undefined);
    const largeRounds: Round[] = [];
    const sides = {
      product: side(generator, product, middle),
      limit: side(generator, limit, bare),
      peer: side(generator, product, small),
      large: side(generator, product, large),
    };
    const measured = await interleaved(rounds, sides, say);
    largeRounds.push(...measured.large);
    const speed = (some: readonly Round[]): number => median(some.map(({ perSecond }) => perSecond));
    const cost = (some: readonly Round[]): number => median(some.map((one) => one.cpuSecondsPerOperation));
    say(
      `  from ${small.units} to ${large.units} units: ${(speed(measured.peer) / speed(largeRounds)).toFixed(3)} times slower, ` +
        `${(cost(largeRounds) / cost(measured.peer)).toFixed(3)} times the CPU`,
    );
    const paced = await loaded(generator, {
      ...orderOf(middle),
      perSecond: seconds < 1 ? 100 : 1_000,
      seconds: Math.max(1, 2 * seconds),
    });
    count(tally, middle.units, paced);
    say(
      `  at ${Math.round(paced.answers / paced.seconds)}/s: p50 ${paced.p50Ms.toFixed(1)} ms, p99 ${paced.p99Ms.toFixed(1)} ms`,
    );
    return {
      product: measured.product,
      limit: measured.limit,
      peer: { name: `authorise at ${small.units} units`, rounds: measured.peer },
      checks: await checks(product, tally),
    };
  } finally {
    await Promise.all([product.end(), limit?.end(), generator?.end()]);
    rmSync(dir, { recursive: true, force: true });
  }
}

type Fleet = GatewayPortReady['fleets'][number];

function orderOf({ port, requestsFile }: Fleet): Omit<HttpsLoadOrder, 'seconds'> {
  return { port, requestsFile, connections: CONNECTIONS, warmUp: false, expected: PERMIT };
}

async function roundOf(
  generator: PinnedProcess,
  server: PinnedProcess,
  order: HttpsLoadOrder,
  tally: Map<number, number>,
  units: number | undefined,
): Promise<Round> {
  const warm = await loaded(generator, { ...order, seconds: 0.5, warmUp: true });
  const before = treeCpuSeconds(server.pid);
  const result = await loaded(generator, order);
  const cpu = treeCpuSeconds(server.pid) - before;
  for (const one of [warm, result]) if (units !== undefined) count(tally, units, one);
  return {
    perSecond: result.answers / result.seconds,
    cpuSecondsPerOperation: cpu / result.answers,
    generatorBusy: result.cpuSeconds / result.seconds,
  };
}

async function loaded(generator: PinnedProcess, order: HttpsLoadOrder): Promise<HttpsLoadResult> {
  generator.send(order);
  const result = await generator.next<HttpsLoadResult>();
  if (result.failures > 0) throw new Error(`${result.failures} answers were no permit: ${result.firstFailure}`);
  return result;
}

/** Each connection asks once before it is measured. */
function count(tally: Map<number, number>, units: number, { answers }: HttpsLoadResult): void {
  tally.set(units, (tally.get(units) ?? 0) + answers + CONNECTIONS);
}

async function checks(product: PinnedProcess, tally: ReadonlyMap<number, number>): Promise<Measurement['checks']> {
  const found: Measurement['checks'][number][] = [];
  for (const [units, answers] of tally) {
    product.send({ check: units });
    const rows = await product.next<GatewayPortChecked>();
    found.push({
      what: `${units} units: each of ${answers} permits was on record before it was given`,
      ok: rows['permit'] === answers && Object.keys(rows).length === 1,
    });
  }
  return found;
}

/** The product's own answer, header by header: the limit writes the same bytes. */
async function capture(
  tls: GatewayPortReady['tls'],
  { port, requestsFile }: Fleet,
): Promise<{ headers: string[]; body: string }> {
  const [first = ''] = JSON.parse(readFileSync(requestsFile, 'utf8')) as string[];
  const whole = Buffer.from(first, 'base64');
  const body = whole.subarray(whole.indexOf('\r\n\r\n') + 4);
  return new Promise((done, fail) => {
    const headers = { 'content-type': 'application/json' };
    const options = {
      ...tls,
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      path: '/v1/authorise',
      method: 'POST',
      headers,
    };
    const outgoing = request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const answer = Buffer.concat(chunks);
        if (!answer.includes(PERMIT)) fail(new Error(`no permit: ${answer.toString().slice(0, 300)}`));
        else done({ headers: withoutHopHeaders(response.rawHeaders), body: answer.toString('base64') });
      });
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
