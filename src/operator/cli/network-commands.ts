import { createPrivateKey, sign } from 'node:crypto';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { FemtoError } from '../../platform/errors.js';
import { networkPolicyAct } from '../api/network-policy-act.js';
import { requestHash, textToSign } from '../people/approvals.js';
import {
  callAndPrint,
  clientOf,
  globalsOf,
  personKeyOf,
  query,
  readTextFile,
  withExamples,
} from './command-context.js';
import { note, print } from './output.js';

/** network-policy, relocation, unknown-alarm: from where units may come, and who came. */
export function addNetworkCommands(program: Command): void {
  const policy = program
    .command('network-policy')
    .description('from which networks units may come, version by version');
  addReading(policy);
  addChanging(policy);
  addRelocations(program);
  addAlarms(program);
}

function addReading(policy: Command): void {
  withExamples(
    policy
      .command('list')
      .description('versions, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/network-policies' })),
    'network-policy list',
    'network-policy list -o json',
  );
  withExamples(
    policy
      .command('show [version]')
      .description('one version with its rules; the active one when none is named')
      .action((version: string | undefined, _options, command: Command) =>
        callAndPrint(
          command,
          { method: 'GET', path: `/network-policies/${encodeURIComponent(version ?? 'active')}` },
          withRules,
        ),
      ),
    'network-policy show',
    'network-policy show 4 -o yaml',
  );
  withExamples(
    policy
      .command('dry-run [version]')
      .description('judges past traffic by a version or a file; says who would be hit and changes nothing')
      .option('--file <rules>', 'YAML or JSON of rules that are not proposed yet')
      .option('--hours <n>', 'how far back', '24')
      .action((version: string | undefined, options: { file?: string; hours: string }, command: Command) =>
        dryRun(command, { version, ...options }),
      ),
    'network-policy dry-run 4',
    'network-policy dry-run --file rules.yaml --hours 168 -o json',
  );
}

function addChanging(policy: Command): void {
  withExamples(
    policy
      .command('propose')
      .description('keeps a new version; with --dry-run only judges past traffic by it')
      .requiredOption('--file <rules>', 'YAML or JSON: rules, whenUnknown')
      .requiredOption('--reason <text>', 'why; goes into the ledger')
      .action(async (options: { file: string; reason: string }, command: Command) => {
        if (globalsOf(command).dryRun) return dryRun(command, { file: options.file, hours: '24' });
        const body = { ...documentOf(options.file), reason: options.reason };
        await callAndPrint(command, { method: 'POST', path: '/network-policies', body }, withRules);
      }),
    'network-policy propose --file rules.yaml --reason "roaming abroad is no use of ours"',
    'network-policy propose --file rules.yaml --reason "as agreed" --dry-run',
  );
  withExamples(
    policy
      .command('request <version>')
      .description('asks a second person to approve activating a version; signed with your own key')
      .action(async (version: string, _options, command: Command) => {
        const globals = globalsOf(command);
        const row = (await clientOf(globals).get(`/network-policies/${encodeURIComponent(version)}`)) as VersionRow;
        const act = networkPolicyAct(row);
        note(`You ask for: ${JSON.stringify(act.request)}`);
        const signature = sign(
          'sha256',
          textToSign(requestHash(act), 'requester'),
          createPrivateKey(personKeyOf(globals)),
        );
        const body = { ...act, signature: signature.toString('base64') };
        await callAndPrint(command, { method: 'POST', path: '/approvals', body });
      }),
    'network-policy request 4',
    'network-policy request 4 --as operator',
  );
  for (const [verb, description] of [
    ['activate', 'puts a version in force; with --dry-run only says who would be hit'],
    ['rollback', 'puts an old version’s rules in force again, as a new version'],
  ] as const) {
    const command = policy
      .command(`${verb} <version>`)
      .description(description)
      .requiredOption('--reason <text>', 'why; goes into the ledger')
      .option('--confirm <phrase>', 'where units would be locked out: the phrase that the refusal shows');
    if (verb === 'activate') command.option('--approval <id>', 'approved request', Number);
    withExamples(
      command.action(async (version: string, options: Record<string, unknown>, self: Command) => {
        if (globalsOf(self).dryRun) return dryRun(self, { version, hours: '24' });
        const path = `/network-policies/${encodeURIComponent(version)}/${verb}`;
        await callAndPrint(self, { method: 'POST', path, body: options }, withRules);
      }),
      `network-policy ${verb} 4 --reason "abuse from hosting networks"`,
      `network-policy ${verb} 4 --reason "abuse from hosting networks" --dry-run`,
    );
  }
}

interface VersionRow {
  readonly version: number;
  readonly ruleCount: number;
  readonly documentSha256: string;
}

/** Asks the server, also under `--dry-run`: a dry run of a policy is a question and changes nothing. */
async function dryRun(
  command: Command,
  { version, file, hours }: { version?: string | undefined; file?: string; hours: string },
): Promise<void> {
  if ((version === undefined) === (file === undefined)) {
    throw new FemtoError('BAD_REQUEST', 'Name a version or give --file, one of them.');
  }
  const globals = globalsOf(command);
  const what = file === undefined ? { version: Number(version) } : { document: documentOf(file) };
  const value = await clientOf(globals).post('/network-policies/dry-run', { ...what, hours: Number(hours) });
  print(value, globals.output);
}

function documentOf(file: string): Record<string, unknown> {
  try {
    const document: unknown = parse(readTextFile(file), { maxAliasCount: 0 });
    if (document !== null && typeof document === 'object') return document as Record<string, unknown>;
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', `${file} is no YAML: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
  throw new FemtoError('BAD_REQUEST', `${file} holds no policy; it begins with rules:`);
}

/** Rules as a table of their own. */
function withRules(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || !('document' in value)) return value;
  const { document, ...facts } = value as { document: { rules: unknown; whenUnknown: unknown } };
  return { ...facts, whenUnknown: document.whenUnknown, rules: document.rules };
}

function addRelocations(program: Command): void {
  const relocation = program.command('relocation').description('leave for a unit to move to another line, once');
  withExamples(
    relocation
      .command('list')
      .description('orders, newest first')
      .option('--unit <serial>')
      .option('--limit <n>', 'rows at most', '100')
      .action((options: Record<string, string>, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/relocations${query(options)}` }),
      ),
    'relocation list',
    'relocation list --unit SHB-24-00817 -o json',
  );
  withExamples(
    relocation
      .command('order <serial>')
      .description('lets a unit move to one new line; spent by its first use there')
      .requiredOption('--line <name>', 'where it moves to')
      .requiredOption('--reason <text>')
      .option('--hours <n>', 'how long it holds', '168')
      .action((serial: string, options: { line: string; reason: string; hours: string }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: `/units/${encodeURIComponent(serial)}/relocations`,
          body: { line: options.line, reason: options.reason, lifeSeconds: Number(options.hours) * 3_600 },
        }),
      ),
    'relocation order SHB-24-00817 --line L-10233 --reason "customer moves house, ticket 4711"',
    'relocation order SHB-24-00817 --line L-10233 --reason "customer moves house" --hours 48 --dry-run',
  );
  withExamples(
    relocation
      .command('withdraw <serial>')
      .description('ends the unit’s open order')
      .action((serial: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/units/${encodeURIComponent(serial)}/relocations/withdraw` }),
      ),
    'relocation withdraw SHB-24-00817',
    'relocation withdraw SHB-24-00817 --dry-run',
  );
}

function addAlarms(program: Command): void {
  const alarm = program.command('unknown-alarm').description('units that nobody knows and that ask to be let in');
  withExamples(
    alarm
      .command('list')
      .description('alarms, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/unknown-alarms' })),
    'unknown-alarm list',
    'unknown-alarm list -o json',
  );
  withExamples(
    alarm
      .command('show <id>')
      .description('each attempt: when, from where, at which gateway')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/unknown-alarms/${encodeURIComponent(id)}` }),
      ),
    'unknown-alarm show 3',
    'unknown-alarm show 3 -o json',
  );
  withExamples(
    alarm
      .command('acknowledge <id>')
      .description('takes an alarm over; the next stranger opens another')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/unknown-alarms/${encodeURIComponent(id)}/acknowledge` }),
      ),
    'unknown-alarm acknowledge 3',
    'unknown-alarm acknowledge 3 --dry-run',
  );
}
