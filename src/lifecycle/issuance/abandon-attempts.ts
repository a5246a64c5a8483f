import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { serialHex } from '../../x509/serial.js';
import type { Revocation } from '../revocation/index.js';
import type { IssuanceStore, StaleAttempt } from './issuance-store.js';

export interface AbandonDeps {
  readonly transactor: Transactor;
  readonly store: IssuanceStore;
  readonly ledger: Ledger;
  readonly revocation: Pick<Revocation, 'setStatus'>;
  readonly clock: Clock;
}

/**
 * Ends attempts that will not be recorded: intent and slot become `abandoned` and the serial is revoked, because a
 * signature over it may exist somewhere (one serial, one signature; rules 2.3). One transaction; an attempt that was
 * recorded meanwhile is left alone.
 *
 * @returns how many were abandoned
 */
export async function abandonAttempts(
  deps: AbandonDeps,
  attempts: readonly StaleAttempt[],
  reason: string,
): Promise<number> {
  if (attempts.length === 0) return 0;
  return deps.transactor.run(async (tx) => {
    const at = deps.clock.now();
    const abandoned = await deps.store.abandon(tx, attempts, at);
    if (abandoned.length === 0) return 0;
    await deps.revocation.setStatus(
      tx,
      // unitId null: the serial was never the unit's certificate, and its revocation must not void what is in flight now.
      abandoned.map(({ issuerId, serial, notAfter }) => ({ issuerId, serial, notAfter, unitId: null })),
      { state: 'revoked', reason: 'cessationOfOperation', actor: 'system:reconciler', at, note: reason },
    );
    await deps.ledger.append(
      tx,
      abandoned.map((attempt) => ({
        kind: 'certificate.abandoned',
        subject:
          attempt.unitSerialNumber === null
            ? `serial:${serialHex(attempt.serial)}`
            : `unit:${attempt.unitSerialNumber}`,
        at,
        body: {
          attemptId: attempt.attemptId,
          issuerId: attempt.issuerId,
          serial: serialHex(attempt.serial),
          purpose: attempt.purpose,
          unitId: attempt.unitId,
          reason,
        },
      })),
    );
    return abandoned.length;
  });
}
