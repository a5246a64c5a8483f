import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadKind, LoadSettings, RenewalLoadOrder, RenewalRound } from '../load/renewal-load.js';
import { microseconds } from '../measure/composite.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { RenewalPortsOrder, RenewalPortsReady } from '../servers/renewal-ports.js';

/**
 * Renewals by REST as units make them, each on new connections: nonce and renew under the old certificate, confirm under
 * the new one. The limit is node:tls with the same certificates, connections and requests, which writes one static reply.
 * Server, database and signer have one core, the units the other.
 */
export const scenario: Scenario = { name: 'renew-mtls', unit: 'renewals/s', limit: 'bare-https', run };

const LANES = 32;
const FIRST_STOCK = 512;
const STOCK_MARGIN = 1.5;
/** V8 needs a good thousand renewals to come to rest. */
const WARM_UP_A_SECOND = 300;
/** About what a renewal's answer is long: certificate and chain. */
const ANSWER = { certificate: 'x'.repeat(2_600), state: 'confirmed' };

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const server = startPinned(new URL('../servers/renewal-ports.ts', import.meta.url), SERVER_CORE, [dir]);
  const started: PinnedProcess[] = [server];
  try {
    const ready = await server.next<RenewalPortsReady>();
    const settings: LoadSettings = ready;
    const loadUrl = new URL('../load/renewal-load.ts', import.meta.url);
    const load = startPinned(loadUrl, GENERATOR_CORE, [JSON.stringify(settings)]);
    started.push(load);
    await load.next();
    const body = Buffer.from(JSON.stringify(ANSWER));
    const headers = ['Content-Type', 'application/json', 'Content-Length', String(body.length)];
    const answerFile = join(dir, 'answer.json');
    writeFileSync(answerFile, JSON.stringify({ ...ready.identity, headers, body: body.toString('base64') }));
    const bare = startPinned(new URL('../limits/bare-https.ts', import.meta.url), SERVER_CORE, [answerFile]);
    started.push(bare);
    const { port: barePort } = await bare.next<{ port: number }>();

    let renewed = 0;
    let fastest = 0;
    const round = async (kind: LoadKind, atLeast: number): Promise<RenewalRound> => {
      const wanted = Math.max(Math.ceil(fastest * seconds * STOCK_MARGIN), atLeast, FIRST_STOCK) + LANES;
      const armed = await ask<number>(load, { arm: wanted });
      if (armed < wanted) {
        await ask(load, { units: await ask<string>(server, { addUnits: wanted - armed }) });
        await ask(load, { arm: wanted });
      }
      const done = await ask<RenewalRound>(load, { kind, seconds, lanes: LANES, atLeast, barePort });
      if (done.failures > 0) throw new Error(`${done.failures} of ${kind} failed: ${done.firstFailure}`);
      return done;
    };
    const ofProduct = async (atLeast = LANES): Promise<Round> => {
      const before = await ask<Record<string, number>>(server, 'cpu');
      const done = await round('rest', atLeast);
      const after = await ask<Record<string, number>>(server, 'cpu');
      renewed += done.all;
      fastest = Math.max(fastest, done.inTime / done.seconds);
      const cpu = Object.entries(after).map(([part, value]): [string, number] => [
        part,
        (value - (before[part] ?? 0)) / done.all,
      ]);
      say(microseconds('product', Object.fromEntries(cpu)));
      return roundOf(
        done,
        cpu.reduce((sum, [, one]) => sum + one, 0),
      );
    };
    const ofLimit = async (): Promise<Round> => {
      const before = bare.cpuSeconds();
      const done = await round('bare', LANES);
      const cpuSeconds = (bare.cpuSeconds() - before) / done.all;
      say(microseconds('limit', { 'node:tls': cpuSeconds }));
      return roundOf(done, cpuSeconds);
    };
    await ofProduct(Math.ceil(WARM_UP_A_SECOND * seconds));
    await ofLimit();
    const measured = await interleaved(rounds, { product: () => ofProduct(), limit: ofLimit }, say);
    const checks = await ask<Measurement['checks']>(server, { check: { cmp: 0, rest: renewed } });
    return { ...measured, checks };
  } finally {
    await Promise.all(started.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

function roundOf({ inTime, seconds, cpuSeconds }: RenewalRound, cpuSecondsPerOperation: number): Round {
  return { perSecond: inTime / seconds, cpuSecondsPerOperation, generatorBusy: cpuSeconds / seconds };
}

function ask<T>(process: PinnedProcess, order: RenewalPortsOrder | RenewalLoadOrder): Promise<T> {
  process.send(order);
  return process.next<T>();
}
