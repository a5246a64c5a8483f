import type { DangerousAct } from '../people/approvals.js';

/** What two people sign to put a version in force: its number and the hash of its rules. */
export function networkPolicyAct(version: {
  readonly version: number;
  readonly ruleCount: number;
  readonly documentSha256: Buffer | string;
}): DangerousAct {
  const documentSha256 = Buffer.isBuffer(version.documentSha256)
    ? version.documentSha256.toString('hex')
    : version.documentSha256;
  return {
    kind: 'network-policy.activate',
    request: { version: version.version, documentSha256 },
    selectionCount: Math.max(1, version.ruleCount),
  };
}
