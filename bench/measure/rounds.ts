import type { BenchRow, Measurement, Round, Scenario } from '../scenario.js';

/**
 * Product and limit in turn, so that whatever else the machine does falls on both alike; the order changes every round.
 */
export async function interleaved(
  rounds: number,
  sides: { product: () => Promise<Round>; limit: () => Promise<Round> },
  say: (line: string) => void,
): Promise<{ product: Round[]; limit: Round[] }> {
  const product: Round[] = [];
  const limit: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? (['product', 'limit'] as const) : (['limit', 'product'] as const);
    for (const side of order) {
      const measured = await sides[side]();
      (side === 'product' ? product : limit).push(measured);
      const busy = Math.round(measured.generatorBusy * 100);
      say(`round ${round + 1}/${rounds} ${side}: ${Math.round(measured.perSecond)}/s, generator ${busy} % busy`);
    }
  }
  return { product, limit };
}

const GENERATOR_BUSY_MAX = 0.8;
const SPREAD_MAX = 0.15;
const ROUNDS_MIN = 5;

export function rowOf(scenario: Scenario, { product, limit, checks }: Measurement): BenchRow {
  const value = median(product.map(({ perSecond }) => perSecond));
  const limitValue = median(limit.map(({ perSecond }) => perSecond));
  const speeds = product.map(({ perSecond }) => perSecond);
  const spread = (Math.max(...speeds) - Math.min(...speeds)) / value;
  const cpuRatio =
    median(product.map(({ cpuSecondsPerOperation }) => cpuSecondsPerOperation)) /
    median(limit.map(({ cpuSecondsPerOperation }) => cpuSecondsPerOperation));
  const isBusy = [...product, ...limit].some(({ generatorBusy }) => generatorBusy > GENERATOR_BUSY_MAX);
  const checked = checks.every(({ ok }) => ok) && !isBusy && spread <= SPREAD_MAX && product.length >= ROUNDS_MIN;
  return {
    scenario: scenario.name,
    value: rounded(value),
    unit: scenario.unit,
    limit: scenario.limit,
    limitValue: rounded(limitValue),
    ratio: rounded(value / limitValue),
    spread: rounded(spread),
    cpuRatio: rounded(cpuRatio),
    node: process.versions.node,
    checked,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
