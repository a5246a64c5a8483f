import type { DangerousAct } from './approvals.js';

/** What two people sign: this very certificate, named by its hash, comes into use or stops issuing. */
export function caAct(
  verb: 'activate' | 'retire',
  { label, certificateSha256, reason }: { label: string; certificateSha256: string; reason: string },
): DangerousAct {
  return { kind: `ca.${verb}`, request: { label, certificateSha256, reason }, selectionCount: 1 };
}
