import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { globalsOf, withExamples } from './command-context.js';
import { type EnrolRequest, openRequests } from './enrol-requests.js';
import { EXIT } from './exit-codes.js';
import { type EnrolResult, type FactoryClient, factoryClient, waitBeforeTry } from './factory-client.js';
import { note, print } from './output.js';

interface EnrolOptions {
  readonly enrolServer: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly out: string;
  readonly certs?: string;
}

/** What a station does with a whole shift's requests; needs no operator credential. */
export function addFactoryCommands(program: Command): void {
  const factory = program.command('factory').description('what a factory station does');
  withExamples(
    factory
      .command('enrol <requests>')
      .description('bootstrap certificates for many units; the same command again goes on where it was cut')
      .requiredOption('--enrol-server <url>', 'base URL of enrol-server')
      .requiredOption('--cert <file>', 'the station’s certificate, PEM')
      .requiredOption('--key <file>', 'its key, PEM')
      .requiredOption('--ca <file>', 'Services Root, PEM')
      .requiredOption('--out <file>', 'results, one JSON line a unit; what is done there is not asked again')
      .option('--certs <dir>', 'also write <serial>.pem, certificate and chain')
      .action((requests: string, options: EnrolOptions, command: Command) => enrol(requests, options, command)),
    'factory enrol requests.ndjson --enrol-server https://enrol.hanbit.example:8443 --cert station.pem --key station.key --ca services-root.pem --out results.ndjson',
    'factory enrol ./csrs --enrol-server https://localhost:8443 --cert station.pem --key station.key --ca services-root.pem --out results.ndjson --certs ./certs',
  );
}

/** Far below what a call may hold, so that each is answered in seconds and a cut line costs little. */
const ROWS_A_CALL = 250;
const TRIES_MAX = 6;

async function enrol(path: string, options: EnrolOptions, command: Command): Promise<void> {
  const { output, dryRun } = globalsOf(command);
  const source = openRequests(path);
  const done = doneIn(options.out);
  const rows = await source.count();
  if (dryRun) return print({ rows, done: done.size, toSend: Math.max(0, rows - done.size) }, output);
  const report = new Report(rows);
  const client = factoryClient(options.enrolServer, options);
  const keep = keeper(options);
  const bar = new SingleBar(
    {
      format: '{bar} {value}/{total} {issued} issued, {refused} refused',
      clearOnComplete: true,
      stream: process.stderr,
    },
    Presets.shades_classic,
  );
  bar.start(rows, 0, report.totals);
  const take = (result: EnrolResult): void => {
    keep(result);
    report.add(result);
    bar.update(report.seen, report.totals);
  };
  try {
    let call: EnrolRequest[] = [];
    for await (const request of source.requests()) {
      if (done.has(request.serialNumber)) report.skip();
      else call.push(request);
      if (call.length < ROWS_A_CALL) continue;
      await send(client, call, take);
      call = [];
    }
    if (call.length > 0) await send(client, call, take);
  } finally {
    bar.stop();
    client.close();
  }
  print(report.summary(options.out), output);
  if (report.totals.refused > 0) {
    note(
      `${report.totals.refused} units were refused; their lines in ${options.out} say why. Correct and run it again.`,
    );
    process.exitCode = EXIT.partlyFailed;
  }
}

/** Again with what is left, until nothing is: rows are safe to repeat. */
async function send(
  client: FactoryClient,
  requests: EnrolRequest[],
  take: (result: EnrolResult) => void,
): Promise<void> {
  let left = requests;
  for (let tries = 1; left.length > 0; tries += 1) {
    try {
      left = await client.enrol(left, take);
    } catch (thrown) {
      const error = asFemtoError(thrown);
      if (thrown instanceof FemtoError && error.code !== 'RETRY_LATER') throw thrown;
      if (tries >= TRIES_MAX) throw stopped(thrown);
    }
    if (left.length === 0) return;
    if (tries >= TRIES_MAX) throw stopped(undefined);
    await waitBeforeTry(tries);
  }
}

function stopped(cause: unknown): FemtoError {
  const why = cause instanceof Error ? ` (${cause.message})` : '';
  return new FemtoError('RETRY_LATER', `enrol-server does not answer${why}; run the same command again later.`, {
    cause,
  });
}

/** Serial numbers that have their certificate; a last line that a power cut broke off counts for nothing. */
function doneIn(file: string): Set<string> {
  if (!existsSync(file)) return new Set();
  const serials = new Set<string>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    try {
      const { serialNumber, status } = JSON.parse(line) as EnrolResult;
      if (status === 200 || status === 201) serials.add(serialNumber);
    } catch {
      // Broken off: that unit is asked for again and gets the same certificate.
    }
  }
  return serials;
}

function keeper({ out, certs }: EnrolOptions): (result: EnrolResult) => void {
  // A line that was broken off must not swallow the next one.
  if (existsSync(out) && !readFileSync(out, 'utf8').endsWith('\n')) appendFileSync(out, '\n');
  if (certs !== undefined) mkdirSync(certs, { recursive: true });
  return (result) => {
    if (certs !== undefined && result.certificate !== undefined)
      writeFileSync(join(certs, `${result.serialNumber}.pem`), `${result.certificate}${result.chain ?? ''}`);
    // After its file: a line says that the unit is done.
    appendFileSync(out, `${JSON.stringify(result)}\n`);
  };
}

class Report {
  readonly totals = { issued: 0, repeated: 0, refused: 0 };
  private readonly codes = new Map<string, number>();
  private skipped = 0;

  constructor(private readonly rows: number) {}

  get seen(): number {
    const { issued, repeated, refused } = this.totals;
    return issued + repeated + refused + this.skipped;
  }

  skip(): void {
    this.skipped += 1;
  }

  add({ status, code = 'unknown' }: EnrolResult): void {
    if (status === 201) this.totals.issued += 1;
    else if (status === 200) this.totals.repeated += 1;
    else {
      this.totals.refused += 1;
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
    }
  }

  summary(out: string): Record<string, unknown> {
    const refusals = [...this.codes].map(([code, units]) => ({ code, units }));
    return { rows: this.rows, ...this.totals, doneBefore: this.skipped, results: out, refusals };
  }
}
