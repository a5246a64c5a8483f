import { createHash } from 'node:crypto';
import type { DangerousAct } from './approvals.js';
import type { ReportedKey } from './key-evidence.js';

/** What two people sign where a list of keys restricts more units than one person may alone. */
export function keyBlockAct(reported: readonly ReportedKey[], reason: string, source: string): DangerousAct {
  const sorted = reported.map(({ spkiHash }) => spkiHash.toString('hex')).sort();
  const sha256 = createHash('sha256')
    .update(`${sorted.join('\n')}\n`)
    .digest('hex');
  const list = { count: sorted.length, sha256 };
  return { kind: 'key.block', request: { reason, source, list }, selectionCount: sorted.length };
}
