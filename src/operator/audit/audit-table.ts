import Table from 'cli-table3';
import { FINDING_CODES } from './findings.js';
import type { AuditReport } from './verify-ledger.js';

/** The report for a person; JSON.stringify(report) is the same for a machine. */
export function auditTable(report: AuditReport): string {
  const table = new Table({
    head: ['epoch', 'entries', 'heads', 'anchors', 'first bad entry', 'unsigned tail', 'unanchored tail', 'last head'],
    style: { head: [], border: [] },
  });
  for (const epoch of report.epochs) {
    table.push([
      epoch.epoch,
      epoch.entries,
      epoch.heads,
      epoch.anchors ?? 'not given',
      epoch.firstBadSeq ?? '-',
      epoch.unsigned,
      epoch.unanchored ?? 'unknown',
      epoch.lastHeadAt ?? '-',
    ]);
  }
  const tail =
    report.unsequenced === 0
      ? 'No entry waits for its number.'
      : `${report.unsequenced} entries wait for their number, the oldest since ${report.oldestUnsequencedAt}.`;
  const lines = [
    `Ledger of installation ${report.installation ?? '(unknown)'}, read from ${report.source}`,
    table.toString(),
    tail,
    ...report.auditCertificates.map((sha256) => `Heads were checked with the audit certificate SHA-256 ${sha256}`),
  ];
  for (const { severity, message } of report.findings) lines.push(`${severity === 'critical' ? '✗' : '!'} ${message}`);
  const listed = new Map<string, number>();
  for (const { code } of report.findings) listed.set(code, (listed.get(code) ?? 0) + 1);
  for (const [code, count] of Object.entries(report.counts)) {
    const more = (count ?? 0) - (listed.get(code) ?? 0);
    if (more > 0) lines.push(`  … and ${more} more: ${FINDING_CODES[code as keyof typeof FINDING_CODES]}`);
  }
  lines.push(
    report.ok
      ? '✓ The ledger is the one that was written.'
      : '✗ The ledger was changed. Keep this report and the anchors, and open a case.',
  );
  return `${lines.join('\n')}\n`;
}
