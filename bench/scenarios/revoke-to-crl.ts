import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RevokeToCrlOrder, RevokeToCrlSettings } from '../load/revoke-to-crl-load.js';
import { percentile } from '../measure/percentile.js';
import {
  GENERATOR_CORE,
  type PinnedProcess,
  SERVER_CORE,
  startPinned,
  WHOLE_MACHINE,
} from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { CrlPublicationOptions, CrlPublicationReady } from '../servers/crl-publication.js';
import type { StatusPortReady } from '../servers/status-port.js';

/**
 * From the commit of a revocation to the first GET of its CA's CRL that lists it, p99 of a round, with a million certificates
 * revoked before over 64 CAs: worker and status-server as they run, units revoked one after another and ten at once. Against a
 * NOTIFY that changes what a bare process answers.
 */
export const scenario: Scenario = {
  name: 'revoke-to-crl',
  unit: 'ms p99',
  better: 'lower',
  limit: 'notify-http',
  run,
};

/** Of issue 4, milliseconds. */
const BAR_MS = 5_000;

async function run({ rounds, quick, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const crlDir = join(dir, 'crl');
  mkdirSync(crlDir);
  const [alone, together, atOnce] = quick ? [4, 4, 4] : [30, 30, 10];
  const options: CrlPublicationOptions = {
    revoked: quick ? 10_000 : 1_000_000,
    issuers: quick ? 4 : 64,
    units: (alone + together) * (rounds + 1),
  };
  const worker = startPinned(new URL('../servers/crl-publication.ts', import.meta.url), WHOLE_MACHINE, [
    crlDir,
    JSON.stringify(options),
  ]);
  const children: PinnedProcess[] = [worker];
  try {
    const { databaseUrl, units, firstSeconds } = await worker.next<CrlPublicationReady>();
    say(`the first CRLs of ${options.issuers} CAs with ${options.revoked} revoked: ${firstSeconds.toFixed(1)} s`);
    const limit = startPinned(new URL('../limits/notify-http.ts', import.meta.url), SERVER_CORE, [databaseUrl]);
    children.unshift(limit);
    const server = startPinned(new URL('../servers/status-port.ts', import.meta.url), WHOLE_MACHINE, [
      databaseUrl,
      crlDir,
    ]);
    children.unshift(server);
    const [{ port: barePort }, { port }] = [await limit.next<{ port: number }>(), await server.next<StatusPortReady>()];
    // More units than one argument may hold.
    const settingsFile = join(dir, 'revoke.json');
    writeFileSync(settingsFile, JSON.stringify({ databaseUrl, port, barePort, units } satisfies RevokeToCrlSettings));
    const load = startPinned(new URL('../load/revoke-to-crl-load.ts', import.meta.url), GENERATOR_CORE, [settingsFile]);
    children.unshift(load);
    await load.next();
    const all: number[] = [];
    const ask = async (order: RevokeToCrlOrder): Promise<number[]> => {
      load.send(order);
      return load.next<number[]>();
    };
    const roundOf = (milliseconds: readonly number[], cpuSeconds: number): Round => {
      const figure = percentile(milliseconds, 0.99);
      return {
        perSecond: 1_000 / figure,
        figure,
        cpuSecondsPerOperation: cpuSeconds / milliseconds.length,
        generatorBusy: 0,
      };
    };
    const product = async (): Promise<Round> => {
      const cpu = (): number => worker.cpuSeconds() + server.cpuSeconds();
      const before = cpu();
      const one = await ask({ kind: 'product', revocations: alone, atOnce: 1 });
      const many = await ask({ kind: 'product', revocations: together, atOnce });
      all.push(...one, ...many);
      say(`one after another ${told(one)}; ${atOnce} at once ${told(many)}`);
      return roundOf([...one, ...many], Math.max(0.01, cpu() - before));
    };
    const bare = async (): Promise<Round> => {
      const before = limit.cpuSeconds();
      const milliseconds = await ask({ kind: 'bare', revocations: alone + together });
      return roundOf(milliseconds, Math.max(0.01, limit.cpuSeconds() - before));
    };
    await product();
    all.length = 0;
    const measured = await interleaved(rounds, { product, limit: bare }, () => undefined);
    say(`all ${all.length} revocations: ${told(all)}`);
    const what = `each of ${all.length} revocations was on the CRL within ${BAR_MS} ms`;
    return { ...measured, checks: [{ what, ok: all.every((ms) => ms < BAR_MS) }] };
  } finally {
    for (const child of children) await child.end();
    rmSync(dir, { recursive: true, force: true });
  }
}

function told(milliseconds: readonly number[]): string {
  return `p50 ${percentile(milliseconds, 0.5).toFixed(0)} ms, p99 ${percentile(milliseconds, 0.99).toFixed(0)} ms`;
}
