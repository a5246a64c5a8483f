import type { Command } from 'commander';
import { callAndPrint, query, withExamples } from './command-context.js';

/** unit, grant: one femtocell and its permission to activate. */
export function addUnitCommands(program: Command): void {
  const unit = program.command('unit').description('femtocells');
  withExamples(
    unit
      .command('list')
      .description('units by serial number')
      .option('--state <state>')
      .option('--batch <name>')
      .option('--model <name>')
      .option('--region <name>', 'of the units’ lines')
      .option('--after <serial>', 'continue behind this serial number')
      .option('--limit <n>', 'rows at most', '100')
      .action((options: Record<string, string>, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/units${query(options)}` }),
      ),
    'unit list --state ACTIVE',
    'unit list --state SUSPENDED --region Seoul',
    'unit list --batch B-2411 --limit 20 -o json',
  );
  withExamples(
    unit
      .command('show <serial>')
      .description('state, generations, certificates, history, cases')
      .action((serial: string, _options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: path(serial) }),
      ),
    'unit show SHB-24-00817',
    'unit show SHB-24-00817 -o json',
  );
  for (const [verb, description] of [
    ['lost', 'reports a unit lost or stolen: denied at once'],
    ['hold', 'suspends a unit and holds its certificates'],
    ['retire', 'retires a unit for ever'],
    ['rework', 'lets a unit at the factory be given another key, once'],
  ] as const) {
    withExamples(
      unit
        .command(`${verb} <serial>`)
        .description(description)
        .requiredOption('--reason <text>', 'why; goes to history and ledger')
        .option('--approval <id>', 'approved request, beyond a hundred units in a day', Number)
        .action((serial: string, options: { reason: string; approval?: number }, command: Command) =>
          callAndPrint(command, { method: 'POST', path: `${path(serial)}/${verb}`, body: options }),
        ),
      `unit ${verb} SHB-24-00817 --reason "customer reported it"`,
      `unit ${verb} SHB-24-00817 --reason "customer reported it" --dry-run`,
    );
  }
  withExamples(
    unit
      .command('revoke <serial>')
      .description('revokes every certificate of a unit for good')
      .requiredOption('--reason <text>')
      .option('--code <reason>', 'unspecified, keyCompromise, cessationOfOperation, privilegeWithdrawn', 'unspecified')
      .option('--approval <id>', 'approved request, beyond a hundred units in a day', Number)
      .action((serial: string, options: { reason: string; code: string; approval?: number }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `${path(serial)}/revoke`, body: options }),
      ),
    'unit revoke SHB-24-00817 --reason "key found on a forum" --code keyCompromise',
    'unit revoke SHB-24-00817 --reason "returned" --dry-run',
  );
  withExamples(
    unit
      .command('release <serial>')
      .description('ends a hold, loss or quarantine; needs an approved request')
      .requiredOption('--reason <text>')
      .option('--approval <id>', 'approved request', Number)
      .option('--evidence <document>', 'for a found unit: its inspection record, as in the approved request')
      .action((serial: string, options: { reason: string; approval?: number; evidence?: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `${path(serial)}/release`, body: options }),
      ),
    'unit release SHB-24-00817 --reason "inspected at the depot" --approval 7',
    'unit release SHB-24-00817 --reason "found by its owner" --evidence "inspection 2026-118" --approval 8 -o json',
  );
  withExamples(
    unit
      .command('window <serial>')
      .description('moves the advised renewal window')
      .requiredOption('--from <time>', 'ISO 8601')
      .requiredOption('--until <time>', 'ISO 8601')
      .action((serial: string, options: { from: string; until: string }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: `${path(serial)}/window`,
          body: { from: instant(options.from), until: instant(options.until) },
        }),
      ),
    'unit window SHB-24-00817 --from 2026-11-25T00:00:00Z --until 2026-11-25T06:00:00Z',
    'unit window SHB-24-00817 --from 2026-11-25T00:00Z --until 2026-11-26T00:00Z',
  );
  withExamples(
    unit
      .command('profile <serial> <profile>')
      .description('chooses life and way of renewal from the next certificate on')
      .action((serial: string, profile: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `${path(serial)}/profile`, body: { profile } }),
      ),
    'unit profile SHB-24-00817 operational-24h',
    'unit profile SHB-24-00817 operational-30d --dry-run',
  );
  withExamples(
    unit
      .command('mac-secret <serial>')
      .description(
        'lets a unit at the factory enrol by a shared secret over CMP, once; reference and secret are shown once',
      )
      .option('--hours <n>', 'life in hours', '24')
      .action((serial: string, options: { hours: string }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: `${path(serial)}/mac-secret`,
          body: { lifeHours: Number(options.hours) },
        }),
      ),
    'unit mac-secret SHB-24-00817',
    'unit mac-secret SHB-24-00817 --hours 2 -o json',
  );
  addGrants(program);
}

function addGrants(program: Command): void {
  const grant = program.command('grant').description('permission to activate');
  withExamples(
    grant
      .command('withdraw <serial>')
      .description('ends the unit’s grant, open or locked by wrong codes, so that another can be made')
      .action((serial: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `${path(serial)}/grants/withdraw` }),
      ),
    'grant withdraw SHB-24-00817',
    'grant withdraw SHB-24-00817 --dry-run',
  );
  withExamples(
    grant
      .command('create <serial>')
      .description('lets a unit activate on a line; a code is shown once')
      .requiredOption('--line <name>')
      .option('--kind <kind>', 'code or order', 'code')
      .option('--hours <n>', 'life in hours', '24')
      .option('--approval <id>', 'approved request, where the unit’s head is live', Number)
      .action(
        (serial: string, options: { line: string; kind: string; hours: string; approval?: number }, command: Command) =>
          callAndPrint(command, {
            method: 'POST',
            path: `${path(serial)}/grants`,
            body: {
              kind: options.kind,
              line: options.line,
              lifeSeconds: Math.round(Number(options.hours) * 3600),
              ...(options.approval === undefined ? {} : { approval: options.approval }),
            },
          }),
      ),
    'grant create SHB-24-00817 --line L-100',
    'grant create SHB-24-00817 --line L-100 --kind order --hours 72',
  );
}

function path(serial: string): string {
  return `/units/${encodeURIComponent(serial)}`;
}

function instant(text: string): string {
  return new Date(text).toISOString();
}
