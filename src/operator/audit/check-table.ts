import Table from 'cli-table3';
import type { LedgerCheckReport } from './check-report.js';

/** The report for a person; JSON.stringify(report) is the same for a machine. */
export function checkTable(report: LedgerCheckReport): string {
  const table = new Table({
    head: ['', 'invariant', 'looked at', 'seconds', ''],
    style: { head: [], border: [] },
  });
  const mark = { ok: '✓', violated: '✗', 'not run': '–' } as const;
  for (const { id, name, result, examined, seconds, notRun } of report.invariants) {
    table.push([
      mark[result],
      `${id} ${name}`,
      examined,
      seconds.toFixed(1),
      notRun ?? (result === 'violated' ? 'violated' : ''),
    ]);
  }
  const lines = [`The record as of ${report.asOf}`, table.toString()];
  for (const { id, violations, more } of report.invariants) {
    for (const violation of violations) lines.push(`✗ ${id}: ${violation}`);
    if (more !== undefined) lines.push(`✗ ${id}: … and ${more} more`);
  }
  lines.push(
    report.ok
      ? '✓ The record hangs together.'
      : '✗ The record is broken. Stop issuing, keep everything, and open a case.',
  );
  return `${lines.join('\n')}\n`;
}
