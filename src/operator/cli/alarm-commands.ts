import type { Command } from 'commander';
import { callAndPrint, query, withExamples } from './command-context.js';

/** alarm, evidence: what detection saw. */
export function addAlarmCommands(program: Command): void {
  const alarm = program.command('alarm').description('what traffic shows about units and districts');
  withExamples(
    alarm
      .command('list')
      .description('one row a rule, unit or district, and day; newest first')
      .option('--unit <serial>', 'of one unit')
      .option(
        '--rule <name>',
        'MOBILE_USE, CELL_CONFLICT, REPEATED_DENIALS, NEW_GATEWAY, DISTRICT_BURST, DISTRICT_DRIP',
      )
      .option('--limit <n>', 'at most so many', '100')
      .action((options: { unit?: string; rule?: string; limit: string }, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/alarms${query(options)}` }),
      ),
    'alarm list --rule MOBILE_USE',
    'alarm list --unit SHB-24-00817 -o json',
  );
  withExamples(
    alarm
      .command('show <id>')
      .description('one alarm: what it rests on, and the decisions that show it')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/alarms/${encodeURIComponent(id)}` }),
      ),
    'alarm show 3',
    'alarm show 3 -o json',
  );
  const evidence = program.command('evidence').description('what is held against a unit');
  withExamples(
    evidence
      .command('list <serial>')
      .description('all evidence about a unit, soft included, with its grade; newest first')
      .option('--limit <n>', 'at most so many', '100')
      .action((serial: string, options: { limit: string }, command: Command) =>
        callAndPrint(command, {
          method: 'GET',
          path: `/units/${encodeURIComponent(serial)}/evidence${query(options)}`,
        }),
      ),
    'evidence list SHB-24-00817',
    'evidence list SHB-24-00817 -o json',
  );
}
