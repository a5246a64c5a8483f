import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { FemtoError } from '../../platform/errors.js';
import { type ApiClient, apiClient } from './api-client.js';
import type { OutputFormat } from './output.js';
import { note, print } from './output.js';

/** Options that every command understands; they may stand before or after the command's own. */
export interface GlobalOptions {
  readonly output: OutputFormat;
  readonly server: string;
  readonly data: string;
  readonly as: string;
  readonly dryRun: boolean;
}

export function globalsOf(command: Command): GlobalOptions {
  return command.optsWithGlobals() as GlobalOptions;
}

export interface CallPlan {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
}

/** Carries out one API call, or with `--dry-run` says what it would send; prints what came back. */
export async function callAndPrint(
  command: Command,
  plan: CallPlan,
  shape: (value: unknown) => unknown = (value) => value,
): Promise<void> {
  const globals = globalsOf(command);
  if (globals.dryRun && plan.method === 'POST') {
    note(`dry run as ${globals.as}: nothing was sent`);
    print(
      { method: plan.method, path: `/api/v1${plan.path}`, body: plan.body ?? {} },
      globals.output === 'table' ? 'yaml' : globals.output,
    );
    return;
  }
  const client = clientOf(globals);
  const value = plan.method === 'GET' ? await client.get(plan.path) : await client.post(plan.path, plan.body);
  print(shape(value), globals.output);
}

export function clientOf({ server, data, as }: GlobalOptions): ApiClient {
  return apiClient(server, join(data, 'secrets', `cli-${as}.token`));
}

/** The person's own key, 0600, that signs what needs two people. */
export function personKeyOf({ data, as }: GlobalOptions): string {
  const file = join(data, 'secrets', `person-${as}.key`);
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new FemtoError('NOT_FOUND', `No key of ${as} at ${file}; sign in first with femtopki sign-in.`, { cause });
  }
}

export function readTextFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FemtoError('NOT_FOUND', `Cannot read ${path}; check the path.`, { cause });
  }
}

/** Adds `Examples:` and the exit codes to a command's help. */
export function withExamples(command: Command, ...examples: string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ femtopki ${line}`).join('\n')}`);
}

export function query(parameters: Record<string, string | number | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) search.set(name, String(value));
  return search.size === 0 ? '' : `?${search.toString()}`;
}
