import Table from 'cli-table3';
import pc from 'picocolors';
import { stringify } from 'yaml';

export type OutputFormat = 'table' | 'json' | 'yaml';

/** Data goes to stdout in the chosen format; everything that is not data goes to stderr. */
export function print(value: unknown, format: OutputFormat): void {
  if (format === 'json') process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  else if (format === 'yaml') process.stdout.write(stringify(value));
  else process.stdout.write(`${asTable(value)}\n`);
}

export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

function asTable(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? pc.dim('none') : rowsTable(value);
  if (value !== null && typeof value === 'object') return fieldsTable(value as Record<string, unknown>);
  return String(value);
}

function rowsTable(rows: readonly unknown[]): string {
  if (rows.some((row) => row === null || typeof row !== 'object')) return rows.map(String).join('\n');
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row as object)))];
  const table = plainTable(columns.map((column) => pc.bold(column)));
  for (const row of rows) table.push(columns.map((column) => cell((row as Record<string, unknown>)[column])));
  return table.toString();
}

function fieldsTable(fields: Record<string, unknown>): string {
  const table = plainTable();
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value) && value.some((inner) => inner !== null && typeof inner === 'object')) continue;
    table.push([pc.bold(name), cell(value)]);
  }
  const nested = Object.entries(fields)
    .filter(([, value]) => Array.isArray(value) && value.length > 0 && typeof value[0] === 'object')
    .map(([name, value]) => `\n${pc.bold(name)}\n${rowsTable(value as unknown[])}`);
  return [table.toString(), ...nested].join('\n');
}

function plainTable(head?: string[]): InstanceType<typeof Table> {
  const empty = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  return new Table({
    ...(head ? { head } : {}),
    chars: empty,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return pc.dim('–');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
