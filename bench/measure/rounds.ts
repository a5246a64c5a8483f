import type { BenchRow, Measurement, Round, Scenario } from '../scenario.js';

/** The sides in turn, so that whatever else the machine does falls on all alike; the order turns round every round. */
export async function interleaved<Side extends string>(
  rounds: number,
  sides: Readonly<Record<Side, () => Promise<Round>>>,
  say: (line: string) => void,
): Promise<Record<Side, Round[]>> {
  const names = Object.keys(sides) as Side[];
  const measured = Object.fromEntries(names.map((name): [Side, Round[]] => [name, []])) as Record<Side, Round[]>;
  for (let round = 0; round < rounds; round += 1) {
    for (const side of round % 2 === 0 ? names : names.toReversed()) {
      const one = await sides[side]();
      measured[side].push(one);
      const busy = Math.round(one.generatorBusy * 100);
      say(`round ${round + 1}/${rounds} ${side}: ${Math.round(one.perSecond)}/s, generator ${busy} % busy`);
    }
  }
  return measured;
}

const GENERATOR_BUSY_MAX = 0.8;
const SPREAD_MAX = 0.15;
const ROUNDS_MIN = 5;

export function rowOf(scenario: Scenario, { product, limit, peer, checks }: Measurement): BenchRow {
  const value = speedOf(product);
  const limitValue = speedOf(limit);
  const cpuRatio =
    median(product.map(({ cpuSecondsPerOperation }) => cpuSecondsPerOperation)) /
    median(limit.map(({ cpuSecondsPerOperation }) => cpuSecondsPerOperation));
  const compared = peer?.rounds ?? [];
  const isBusy = [...product, ...limit, ...compared].some(({ generatorBusy }) => generatorBusy > GENERATOR_BUSY_MAX);
  const isSteady = [product, compared].every((side) => spreadOf(side) <= SPREAD_MAX);
  const peerValue = speedOf(compared);
  return {
    scenario: scenario.name,
    value: rounded(value),
    unit: scenario.unit,
    limit: scenario.limit,
    limitValue: rounded(limitValue),
    ratio: rounded(scenario.better === 'lower' ? limitValue / value : value / limitValue),
    spread: rounded(spreadOf(product)),
    cpuRatio: rounded(cpuRatio),
    ...(peer && { peer: peer.name, peerValue: rounded(peerValue), peerRatio: rounded(value / peerValue) }),
    node: process.versions.node,
    checked: checks.every(({ ok }) => ok) && !isBusy && isSteady && product.length >= ROUNDS_MIN,
  };
}

function speedOf(rounds: readonly Round[]): number {
  return median(rounds.map(figureOf));
}

function spreadOf(rounds: readonly Round[]): number {
  if (rounds.length === 0) return 0;
  const speeds = rounds.map(figureOf);
  return (Math.max(...speeds) - Math.min(...speeds)) / speedOf(rounds);
}

function figureOf({ figure, perSecond }: Round): number {
  return figure ?? perSecond;
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
