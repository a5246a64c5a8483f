import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { FemtoError } from '../platform/errors.js';

export interface SupervisorArguments {
  /** Tell the story with a fresh unit, then end; the exit code is its verdict. */
  readonly once: boolean;
  /** Every child's log line on standard error, whatever its level. */
  readonly verbose: boolean;
  readonly help: boolean;
  readonly dataDir: string | undefined;
  readonly configFile: string | undefined;
  /** Where the acts go as JSON. */
  readonly jsonFile: string | undefined;
}

export const USAGE = `usage: npm start -- [--once] [--data DIR] [--config FILE] [--json FILE] [--verbose]

Installs what is missing, then starts a whole femtopki: embedded PostgreSQL, software token, all processes. The first
time it tells the story of one femtocell from factory to stolen, then keeps serving and prints where.

  --once         tell the story with a fresh unit, then end; exit 0 only if every verdict is as it must be
  --data DIR     data directory (default ./data)
  --config FILE  settings (default DIR/femtopki.yaml where it exists)
  --json FILE    write the story's acts: {"acts":[{"act","by","expected","got","ok"}]}
  --verbose      show every log line

Examples:
  npm start
  npm start -- --once --data /tmp/trial --json acts.json`;

/** @throws FemtoError BAD_REQUEST for an unknown option */
export function parseSupervisorArguments(argv: readonly string[]): SupervisorArguments {
  const options = {
    once: { type: 'boolean' },
    verbose: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
    data: { type: 'string' },
    config: { type: 'string' },
    json: { type: 'string' },
  } as const;
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true });
    return {
      once: values.once ?? false,
      verbose: values.verbose ?? false,
      help: values.help ?? false,
      dataDir: values.data,
      configFile: values.config,
      jsonFile: values.json === undefined ? undefined : resolve(values.json),
    };
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', `${(cause as Error).message}\n\n${USAGE}`, { cause });
  }
}
