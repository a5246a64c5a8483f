import { describe, expect, test } from '@jest/globals';
import { runTogether, type Work } from '../../../src/platform/db/run-together.js';
import type { Transaction } from '../../../src/platform/db/transaction.js';
import { gather } from '../../../src/platform/gather.js';

describe('calls that wait at the same time', () => {
  test('share one run, and each gets the answer at its own place', async () => {
    const runs: number[][] = [];
    const double = gather(async (inputs: readonly number[]) => {
      runs.push([...inputs]);
      return inputs.map((input) => input * 2);
    });
    expect(await Promise.all([1, 2, 3].map(double))).toEqual([2, 4, 6]);
    expect(runs).toEqual([[1, 2, 3]]);
  });

  test('are answered by a run that began after they asked', async () => {
    let end: () => void = () => undefined;
    const starts: number[][] = [];
    const ask = gather(
      async (inputs: readonly number[]) => {
        starts.push([...inputs]);
        await new Promise<void>((done) => {
          end = done;
        });
        return inputs;
      },
      { patienceMs: 60_000 },
    );
    const first = ask(1);
    await new Promise(setImmediate);
    const late = [ask(2), ask(3)];
    await new Promise(setImmediate);
    expect(starts).toEqual([[1]]);
    end();
    await first;
    while (starts.length < 2) await new Promise(setImmediate);
    expect(starts).toEqual([[1], [2, 3]]);
    end();
    expect(await Promise.all(late)).toEqual([2, 3]);
  });

  test('do not wait for ever behind a run that hangs', async () => {
    let isFirst = true;
    const ask = gather(
      (inputs: readonly number[]) => {
        const hangs = isFirst;
        isFirst = false;
        return hangs ? new Promise<number[]>(() => undefined) : Promise.resolve(inputs);
      },
      { patienceMs: 1 },
    );
    void ask(1);
    await new Promise(setImmediate);
    expect(await ask(2)).toBe(2);
  });

  test('are run one by one where a row spoilt their run, and that row alone fails', async () => {
    const isRowFault = (thrown: unknown): boolean => thrown instanceof RangeError;
    const ask = gather(
      async (inputs: readonly number[]) => {
        if (inputs.includes(2)) throw new RangeError('two');
        return inputs;
      },
      { isRowFault },
    );
    expect(await Promise.allSettled([1, 2, 3].map(ask))).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: new RangeError('two') },
      { status: 'fulfilled', value: 3 },
    ]);
  });

  test('fail together, run once, where no row is to blame', async () => {
    let runs = 0;
    const ask = gather(async (_: readonly number[]): Promise<number[]> => {
      runs += 1;
      throw new Error('the line is down');
    });
    const settled = await Promise.allSettled([1, 2].map(ask));
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(runs).toBe(1);
  });
});

describe('works that share a transaction', () => {
  const NO_TRANSACTION = {} as Transaction;

  test('are none of them run again after a commit of unknown outcome', async () => {
    const ran = [0, 0];
    const together = runTogether(async (all) => {
      await all(NO_TRANSACTION);
      throw new Error('connection lost during COMMIT');
    });
    const works = ran.map(
      (_, index): Work =>
        async () => {
          ran[index] = (ran[index] ?? 0) + 1;
        },
    );
    const outcomes = await together(works);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(ran).toEqual([1, 1]);
  });

  test('are run again without the one that was refused, which is asked once more alone', async () => {
    const log: string[] = [];
    let transactions = 0;
    const together = runTogether((all) => {
      transactions += 1;
      return all(NO_TRANSACTION);
    });
    const work =
      (name: string): Work =>
      async () => {
        log.push(`${name}${transactions}`);
        if (name === 'b') throw new Error('refused');
        return name;
      };
    expect(await together(['a', 'b', 'c'].map(work))).toEqual([
      { status: 'fulfilled', value: 'a' },
      { status: 'rejected', reason: new Error('refused') },
      { status: 'fulfilled', value: 'c' },
    ]);
    expect(log).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'b3']);
  });
});
