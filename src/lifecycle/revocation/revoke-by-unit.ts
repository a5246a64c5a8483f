import { FemtoError } from '../../platform/errors.js';
import { enterBlockedKeys } from './block-keys.js';
import { restrictUnits } from './restrict.js';
import type { RestrictOutcome, UnitRevocation } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { writeStatus } from './write-status.js';

/**
 * A unit gives up its own certificate (CMP rr). The named one is revoked for good, everything else it holds is on hold and
 * the unit SUSPENDED: what made it give up one key may have touched the others, and a person decides how it comes back.
 */
export async function revokeByUnit(
  deps: RevocationDeps,
  { unit, certificate, reason, actor, note }: UnitRevocation,
): Promise<RestrictOutcome> {
  const by = { actor, at: deps.clock.now(), note };
  return deps.transactor.run(async (tx) => {
    await deps.store.lockUnits(tx, [unit.id]);
    // First, because what is revoked is not held any more: one change of status, one entry.
    const revoked = { ...by, state: 'revoked', reason, voidsInFlight: false } as const;
    const changed = await writeStatus(deps, tx, [{ ...certificate, unitId: unit.id }], revoked);
    if (changed.length === 0) {
      throw new FemtoError('CERT_REVOKED', 'The certificate is revoked already; there is nothing left to revoke.');
    }
    const change = { ...by, state: 'held', reason: 'certificateHold' } as const;
    const held = await restrictUnits(deps, tx, { unitIds: [unit.id], to: 'SUSPENDED', change, evidence: undefined });
    const blocked = { ...by, spkiHashes: [certificate.spkiHash], source: actor };
    const blockedKeys = reason === 'keyCompromise' ? (await enterBlockedKeys(deps, tx, blocked)).length : 0;
    return { ...held, certificates: held.certificates + changed.length, blockedKeys };
  });
}
