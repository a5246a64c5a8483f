import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RevokeLoadSettings, RevokeOrder } from '../load/revoke-load.js';
import { percentile } from '../measure/percentile.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { OcspPortReady } from '../servers/ocsp-port.js';

/**
 * From the commit of a revocation to the first `revoked` over HTTP, p99 of a round, with a million certificates revoked
 * before; against a NOTIFY that changes what a bare process answers.
 */
export const scenario: Scenario = {
  name: 'revoke-to-ocsp',
  unit: 'ms p99',
  better: 'lower',
  limit: 'notify-http',
  run,
};

async function run({ rounds, quick, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const revocations = quick ? 20 : 200;
  const certificates = quick ? 10_000 : 1_000_000;
  const options = { certificates, revokedEvery: 1, units: revocations * (rounds + 1), livePerSecond: 1_000_000 };
  const file = new URL('../servers/ocsp-port.ts', import.meta.url);
  const product = startPinned(file, SERVER_CORE, [dir, JSON.stringify(options)]);
  const children: PinnedProcess[] = [product];
  try {
    const ready = await product.next<OcspPortReady>();
    const limit = startPinned(new URL('../limits/notify-http.ts', import.meta.url), SERVER_CORE, [ready.databaseUrl]);
    children.push(limit);
    const { port: barePort } = await limit.next<{ port: number }>();
    const settings: RevokeLoadSettings = { ...ready, barePort, question: { ...ready, method: 'POST' } };
    // More units than one argument may hold.
    const settingsFile = join(dir, 'revoke.json');
    writeFileSync(settingsFile, JSON.stringify(settings));
    const load = startPinned(new URL('../load/revoke-load.ts', import.meta.url), GENERATOR_CORE, [settingsFile]);
    children.push(load);
    await load.next();
    const all: number[] = [];
    const side = (kind: RevokeOrder['kind'], server: PinnedProcess) => async (): Promise<Round> => {
      const before = server.cpuSeconds();
      load.send({ kind, revocations } satisfies RevokeOrder);
      const milliseconds = await load.next<number[]>();
      if (kind === 'product') all.push(...milliseconds);
      const figure = percentile(milliseconds, 0.99);
      say(`${kind}: p50 ${percentile(milliseconds, 0.5).toFixed(2)} ms, p99 ${figure.toFixed(2)} ms`);
      const cpuSecondsPerOperation = Math.max(0.01, server.cpuSeconds() - before) / revocations;
      return { perSecond: 1_000 / figure, figure, cpuSecondsPerOperation, generatorBusy: 0 };
    };
    await side('product', product)();
    const measured = await interleaved(
      rounds,
      { product: side('product', product), limit: side('bare', limit) },
      () => undefined,
    );
    say(
      `all ${all.length} revocations: p50 ${percentile(all, 0.5).toFixed(2)} ms, p99 ${percentile(all, 0.99).toFixed(2)} ms`,
    );
    const what = `each of ${all.length} revocations was answered, among ${certificates} revoked before`;
    return { ...measured, checks: [{ what, ok: all.every((ms) => ms < 10_000) }] };
  } finally {
    await Promise.all(children.map((child) => child.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}
