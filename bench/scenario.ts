/** One scenario = one file in `bench/scenarios/` that exports `scenario`. */
export interface Scenario {
  readonly name: string;
  /** e.g. `answers/s`. */
  readonly unit: string;
  /** Default `higher`. `lower`: milliseconds, megabytes; then a round's figure is {@link Round.figure}. */
  readonly better?: 'lower';
  /** Name of the probe in `bench/limits/` that shows what the machine itself can do. */
  readonly limit: string;
  run(context: BenchContext): Promise<Measurement>;
}

/** What a scenario compares us with is not on this machine and cannot be put there: said, and no failure of ours. */
export class PeerMissing extends Error {}

export interface BenchContext {
  /** Interleaved rounds of product and limit; at least 5. */
  readonly rounds: number;
  /** Measured seconds of one round, after its warm-up. */
  readonly seconds: number;
  /** Small enough for a test to run it: its figures mean nothing. */
  readonly quick: boolean;
  /** Of `--units`: the size of the fleet, for scenarios that have one. */
  readonly units?: number;
  /** Progress, for people: standard error. */
  say(line: string): void;
}

/** One round of one side. */
export interface Round {
  readonly perSecond: number;
  /** What is compared where it is no speed, in the scenario's unit. */
  readonly figure?: number;
  /** CPU seconds that the measured process spent per operation; NaN where it cannot be told. */
  readonly cpuSecondsPerOperation: number;
  /** 0…1: how busy the generator's own core was. Above 0.8 it is the generator that was measured. */
  readonly generatorBusy: number;
}

export interface Measurement {
  readonly product: readonly Round[];
  readonly limit: readonly Round[];
  /** Another way of ours to the same end, measured in the same rounds. */
  readonly peer?: { readonly name: string; readonly rounds: readonly Round[] };
  /** What was checked afterwards, each with its outcome: an answer that is fast and wrong is worth nothing. */
  readonly checks: readonly { readonly what: string; readonly ok: boolean }[];
}

/** One line of the output. */
export interface BenchRow {
  readonly scenario: string;
  readonly value: number;
  readonly unit: string;
  readonly limit: string;
  readonly limitValue: number;
  /** value ÷ limitValue, or limitValue ÷ value where lower is better: 1 = the product costs nothing. */
  readonly ratio: number;
  /** (max − min) ÷ median over the product's rounds. */
  readonly spread: number;
  /** CPU a product's operation takes ÷ CPU of the limit's. */
  readonly cpuRatio: number;
  /** Where the product is compared with a sibling of its own: value ÷ peerValue = peerRatio. */
  readonly peer?: string;
  readonly peerValue?: number;
  readonly peerRatio?: number;
  readonly node: string;
  readonly checked: boolean;
}
