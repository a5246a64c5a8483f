import type { LoadOrder, LoadResult } from '../load/http-load.js';
import type { Round } from '../scenario.js';
import type { PinnedProcess } from './pinned-process.js';

/** What the generator got beside its speed. */
export interface HttpRound extends Round {
  /** 0…1: answers that are OCSP errors. */
  readonly shortShare: number;
}

/** One round: the generator asks for `seconds`, after a short warm-up of its own, and both sides' CPU is read. */
export async function httpRound(
  generator: PinnedProcess,
  server: PinnedProcess,
  order: Omit<LoadOrder, 'warmUp'>,
): Promise<HttpRound> {
  generator.send({ ...order, seconds: 0.5, warmUp: true } satisfies LoadOrder);
  await generator.next<LoadResult>();
  const before = server.cpuSeconds();
  generator.send({ ...order, warmUp: false } satisfies LoadOrder);
  const result = await generator.next<LoadResult>();
  const cpu = server.cpuSeconds() - before;
  if (result.failures > 0) throw new Error(`${result.failures} answers were not 200: ${result.firstFailure}`);
  return {
    perSecond: result.answers / result.seconds,
    cpuSecondsPerOperation: cpu / result.answers,
    generatorBusy: result.cpuSeconds / result.seconds,
    shortShare: (result.short ?? 0) / result.answers,
  };
}
