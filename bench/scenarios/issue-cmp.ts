import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../../src/apps/node-flags.js';
import type { LoadKind, LoadSettings, RenewalLoadOrder, RenewalRound, RenewalSample } from '../load/renewal-load.js';
import {
  CERTIFICATE_ROW,
  type Composite,
  LEDGER_ROW,
  microseconds,
  startComposite,
  transactionRow,
} from '../measure/composite.js';
import { httpRound } from '../measure/http-rounds.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import {
  COUNTER_ROW,
  closeExchange,
  confirmSlot,
  INTENT_ROW,
  KEY_ROW,
  lookUp,
  SLOT_ROW,
} from '../measure/renewal-rows.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { RenewalPortsOrder, RenewalPortsReady } from '../servers/renewal-ports.js';

/**
 * Renewals by CMP: kur, kup, certConf, pkiConf are one operation, because the profile leaves none of them out and without
 * the last the certificate stays pending. Plain HTTP, kept alive; enrol-server's rooms, database and signer on one core.
 *
 * The limit is one core full of the steps that no such server can leave out. The peer is the same renewal by REST: nonce,
 * renew, confirm, on two TLS connections, because the new key is proved by its own handshake.
 */
export const scenario: Scenario = { name: 'issue-cmp', unit: 'renewals/s', limit: 'mandatory-steps', run };

/** A limit has its own kind of load; here both renew. */
type RenewalKind = Exclude<LoadKind, 'bare'>;

/**
 * Under way at once. A fleet asks from everywhere, and what asks together shares its statements. By REST the handshakes are
 * what costs: more lanes would give no more, and each would be slower than the listener waits for an idle caller.
 */
const LANES: Readonly<Record<RenewalKind, number>> = { cmp: 256, rest: 32 };
const FIRST_STOCK = 1_024;
/** Renewals before the first round, for each of its seconds: by CMP what one costs fell until the fourth thousand (V8). */
const WARM_UP_A_SECOND: Readonly<Record<RenewalKind, number>> = { cmp: 1_200, rest: 300 };
/** More than a round should use, so that it ends by time and not for want of units. */
const STOCK_MARGIN = 1.5;
const CORES = 1;
const SERVER = new URL('../servers/renewal-ports.ts', import.meta.url);
/** Seconds that one bare HTTP exchange is measured for. */
const EXCHANGE_SECONDS = 0.5;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const server = startPinned(SERVER, SERVER_CORE, [dir], nodeFlags('enrol-server'));
  const ended: { end(): Promise<void> }[] = [server];
  try {
    const ready = await server.next<RenewalPortsReady>();
    const settings: LoadSettings = ready;
    const loadUrl = new URL('../load/renewal-load.ts', import.meta.url);
    const load = startPinned(loadUrl, GENERATOR_CORE, [JSON.stringify(settings)]);
    ended.push(load);
    await load.next();
    const units = unitsOf(server, load);
    await units.ensure(FIRST_STOCK);
    const sample = await ask<RenewalSample>(load, 'sample');
    const exchanges = await startExchanges(dir, sample);
    ended.push(exchanges);
    const composite = await startSteps(ready, sample);
    ended.push(composite);

    const tally = { cmp: 1, rest: 0 };
    const side = async (kind: RenewalKind, atLeast: number): Promise<Round> => {
      const lanes = LANES[kind];
      await units.ensure(Math.max(Math.ceil(units.perSecond * seconds * STOCK_MARGIN), atLeast) + lanes);
      const { round, all, cpu } = await renewalRound(server, load, { kind, seconds, lanes, atLeast });
      tally[kind] += all;
      units.perSecond = Math.max(units.perSecond, round.perSecond);
      say(microseconds(kind, cpu));
      return round;
    };
    const limit = async (): Promise<Round> => {
      const round = await composite.round(seconds, await exchanges.cpu());
      say(microseconds('limit', round.cpu));
      return round;
    };
    for (const kind of ['cmp', 'rest'] as const) await side(kind, Math.ceil(WARM_UP_A_SECOND[kind] * seconds));
    const sides = { cmp: () => side('cmp', LANES.cmp), limit, rest: () => side('rest', LANES.rest) };
    const measured = await interleaved(rounds, sides, say);
    const checks = await ask<Measurement['checks']>(server, { check: tally });
    return { product: measured.cmp, limit: measured.limit, peer: { name: 'rest', rounds: measured.rest }, checks };
  } finally {
    await Promise.all(ended.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Enough armed units for the next round; more are made where a round turned out to be faster. */
function unitsOf(server: PinnedProcess, load: PinnedProcess) {
  return {
    perSecond: 0,
    ensure: async (wanted: number): Promise<void> => {
      const armed = await ask<number>(load, { arm: wanted });
      if (armed >= wanted) return;
      const file = await ask<string>(server, { addUnits: wanted - armed });
      await ask<number>(load, { units: file });
      await ask<number>(load, { arm: wanted });
    },
  };
}

async function renewalRound(
  server: PinnedProcess,
  load: PinnedProcess,
  order: { kind: RenewalKind; seconds: number; lanes: number; atLeast: number },
): Promise<{ round: Round; all: number; cpu: Record<string, number> }> {
  const before = await ask<Record<string, number>>(server, 'cpu');
  const { inTime, all, seconds: took, cpuSeconds, failures, firstFailure } = await ask<RenewalRound>(load, order);
  const after = await ask<Record<string, number>>(server, 'cpu');
  if (failures > 0) throw new Error(`${failures} renewals by ${order.kind} failed: ${firstFailure}`);
  const cpu = Object.fromEntries(
    Object.entries(after).map(([part, value]) => [part, (value - (before[part] ?? 0)) / all]),
  );
  const sum = Object.values(cpu).reduce((total, one) => total + one, 0);
  const round = { perSecond: inTime / took, cpuSecondsPerOperation: sum, generatorBusy: cpuSeconds / took };
  return { round, all, cpu };
}

/** The two HTTP exchanges with the product's own bytes, answered by node:http alone. */
async function startExchanges(dir: string, { exchanges }: RenewalSample) {
  const generator = startPinned(new URL('../load/http-load.ts', import.meta.url), GENERATOR_CORE);
  const sides: { server: PinnedProcess; port: number; requestsFile: string }[] = [];
  for (const [index, { request, head, body }] of exchanges.entries()) {
    const answerFile = join(dir, `answer-${index}.json`);
    const requestsFile = join(dir, `request-${index}.json`);
    writeFileSync(answerFile, JSON.stringify({ headers: ownHeaders(head), body }));
    writeFileSync(requestsFile, JSON.stringify([request]));
    const server = startPinned(new URL('../limits/bare-http.ts', import.meta.url), SERVER_CORE, [answerFile]);
    sides.push({ server, requestsFile, ...(await server.next<{ port: number }>()) });
  }
  return {
    /** CPU seconds of all exchanges of one operation. */
    cpu: async (): Promise<Record<string, number>> => {
      let seconds = 0;
      for (const { server, port, requestsFile } of sides) {
        const order = { port, connections: LANES.cmp, seconds: EXCHANGE_SECONDS, requestsFile };
        seconds += (await httpRound(generator, server, order)).cpuSecondsPerOperation;
      }
      return { 'HTTP ×2': seconds };
    },
    end: async (): Promise<void> =>
      void (await Promise.all([generator, ...sides.map(({ server }) => server)].map((one) => one.end()))),
  };
}

/** node:http writes Date, Connection and Keep-Alive by itself on both sides; http-load wants this spelling of the length. */
function ownHeaders(head: string): string[] {
  const lines = head.split('\r\n').slice(1);
  const kept = lines.filter((line) => !/^(date|connection|keep-alive):/i.test(line));
  return kept.flatMap((line) => {
    const [name = '', value = ''] = line.split(': ');
    return [name.toLowerCase() === 'content-length' ? 'Content-Length' : name, value];
  });
}

function startSteps({ databaseUrl, token, keyLabel }: RenewalPortsReady, sample: RenewalSample): Promise<Composite> {
  const [kupOctets = 0, pkiConfOctets = 0] = sample.exchanges.map(({ body }) => Buffer.from(body, 'base64').length);
  const copied = (...row: string[]) => ({ file: 'copy-rows.ts', args: [databaseUrl, ...row] });
  const found = (rows: string) => ({ file: 'set-rows.ts', args: [databaseUrl, rows] });
  return startComposite(
    [
      { name: 'protection ×2 and possession, fresh keys', times: 3, file: 'check-request.ts' },
      { name: 'token signature', file: 'raw-sign.ts', args: [JSON.stringify({ ...token, keyLabel })] },
      { name: 'own check, and the CA’s signature on what was shown', times: 2, file: 'own-checks.ts' },
      { name: 'RA signature ×2', times: 2, file: 'ra-sign.ts' },
      { name: 'certificate row', ...copied(...CERTIFICATE_ROW) },
      { name: 'ledger row ×2', times: 2, ...copied(...LEDGER_ROW) },
      { name: 'transaction row', ...copied(...transactionRow(kupOctets)) },
      { name: 'intent row', ...copied(...INTENT_ROW) },
      { name: 'slot row', ...copied(...SLOT_ROW) },
      { name: 'key row', ...copied(...KEY_ROW) },
      { name: 'counter row', ...copied(...COUNTER_ROW) },
      { name: 'record ×2 and lineage looked up', times: 3, ...found(lookUp()) },
      { name: 'slot confirmed', ...found(confirmSlot()) },
      { name: 'exchange closed', ...found(closeExchange(pkiConfOctets)) },
    ],
    SERVER_CORE,
    CORES,
  );
}

function ask<T>(process: PinnedProcess, order: RenewalPortsOrder | RenewalLoadOrder): Promise<T> {
  process.send(order);
  return process.next<T>();
}
