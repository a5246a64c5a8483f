import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runClient } from '../../test/support/command.js';
import { benchSerial } from '../load/ocsp-requests.js';
import { httpRound } from '../measure/http-rounds.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { OcspLiveReady, OcspLiveState } from '../servers/ocsp-live-port.js';

/**
 * Answers that must be signed for one asker, each with its nonce, by the real signer and token, against one bare process at
 * the same key. The status server has one core, the signer the other (it is another host's, rules 2.5), as the bare process
 * has; the generator shares the signer's.
 */
export const scenario: Scenario = { name: 'ocsp-live', unit: 'answers/s', limit: 'raw-sign', run };

const CONNECTIONS = 128;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const file = new URL('../servers/ocsp-live-port.ts', import.meta.url);
  const product = startPinned(file, SERVER_CORE, [dir, String(GENERATOR_CORE)]);
  const generator = startPinned(new URL('../load/http-load.ts', import.meta.url), GENERATOR_CORE);
  const children: PinnedProcess[] = [product, generator];
  try {
    const ready = await product.next<OcspLiveReady>();
    const settings = JSON.stringify({ ...ready.token, keyLabel: ready.keyLabel });
    const raw = startPinned(new URL('../limits/raw-sign.ts', import.meta.url), GENERATOR_CORE, [settings]);
    children.push(raw);
    await raw.next();
    const ocsp = {
      ...ready,
      method: 'POST',
      hasNonce: true,
      count: Math.min(40_000, 4_000 + 8_000 * seconds),
    } as const;
    const order = { connections: CONNECTIONS, seconds, requestsFile: '', ocsp, port: ready.port };
    let short = 0;
    const ofProduct = async (): Promise<Round> => {
      const before = await stateOf(product);
      const round = await httpRound(generator, product, order);
      const signerCpu = (await stateOf(product)).signerCpuSeconds - before.signerCpuSeconds;
      short += round.shortShare;
      const signerShare = signerCpu / (round.perSecond * seconds);
      say(
        `CPU an answer: ${Math.round(round.cpuSecondsPerOperation * 1e6)} µs status server, ${Math.round(signerShare * 1e6)} µs signer`,
      );
      return { ...round, cpuSecondsPerOperation: round.cpuSecondsPerOperation + signerShare };
    };
    await httpRound(generator, product, order);
    const measured = await interleaved(rounds, { product: ofProduct, limit: () => ofLimit(raw, seconds) }, say);
    const { troubles } = await stateOf(product);
    const text = await opensslOcsp(dir, ready);
    const checks = [
      { what: `every question was answered by a signature (${troubles[0] ?? 'no trouble'})`, ok: short === 0 },
      {
        what: 'openssl verifies the answer, nonce included',
        ok: text.includes('Response verify OK') && text.includes(': good'),
      },
      { what: 'the nonce is ours', ok: !/no nonce|nonce verify error/i.test(text) },
    ];
    return { ...measured, checks };
  } finally {
    await Promise.all(children.map((child) => child.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function stateOf(product: PinnedProcess): Promise<OcspLiveState> {
  product.send('state');
  return product.next<OcspLiveState>();
}

async function ofLimit(raw: PinnedProcess, seconds: number): Promise<Round> {
  raw.send({ seconds });
  const result = await raw.next<{ operations: number; seconds: number; cpuSeconds: number }>();
  return {
    perSecond: result.operations / result.seconds,
    cpuSecondsPerOperation: result.cpuSeconds / result.operations,
    generatorBusy: 0, // it asks itself
  };
}

async function opensslOcsp(dir: string, { port, hour }: OcspLiveReady): Promise<string> {
  const ca = ['-issuer', join(dir, 'device-ca-1.pem'), '-CAfile', join(dir, 'access-root.pem')];
  const serial = `0x${benchSerial(1, hour).toString('hex')}`;
  return (await runClient('openssl', ['ocsp', ...ca, '-serial', serial, '-url', `http://127.0.0.1:${port}/ocsp`])).text;
}
