import { FemtoError } from '../../platform/errors.js';
import { restrictUnits } from './restrict.js';
import type { RestrictOutcome, StatusChange, UnitRevocation } from './revocation.js';
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
  const at = deps.clock.now();
  const by = { actor, at, note };
  return deps.transactor.run(async (tx) => {
    const held: StatusChange = { ...by, state: 'held', reason: 'certificateHold' };
    const outcome = await restrictUnits(deps, tx, {
      unitIds: [unit.id],
      to: 'SUSPENDED',
      change: held,
      evidence: undefined,
    });
    const revoked: StatusChange = { ...by, state: 'revoked', reason, voidsInFlight: false };
    const changed = await writeStatus(deps, tx, [{ ...certificate, unitId: unit.id }], revoked);
    if (changed.length === 0) {
      throw new FemtoError('CERT_REVOKED', 'The certificate is revoked already; there is nothing left to revoke.');
    }
    const spkiHash = reason === 'keyCompromise' ? certificate.spkiHash : null;
    if (spkiHash === null) return outcome;
    const blockedKeys = await deps.store.blockKeys(tx, [spkiHash], { reason: note, source: actor, at });
    if (blockedKeys > 0) {
      const body = { spkiSha256: spkiHash.toString('hex'), source: actor, actor, note };
      await deps.ledger.append(tx, [{ kind: 'key.blocked', subject: `key:${spkiHash.toString('hex')}`, at, body }]);
    }
    return { ...outcome, blockedKeys };
  });
}
