import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Lease, Leases } from '../../platform/db/lease.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { BuiltCrl } from './build-crl.js';
import type { CrlIssuer, CrlStore, DirtyToken } from './crl-store.js';

/**
 * Row, mark and ledger entry in one transaction that proves the lease: whoever was paused past it records nothing.
 *
 * @returns SHA-256 of the whole CRL
 */
export async function recordCrl(
  deps: {
    readonly transactor: Transactor;
    readonly leases: Leases;
    readonly store: CrlStore;
    readonly ledger: Ledger;
    readonly clock: Clock;
  },
  {
    issuer,
    lease,
    built,
    der,
    dirty,
  }: {
    issuer: CrlIssuer;
    lease: Lease;
    built: BuiltCrl;
    der: Buffer;
    dirty: DirtyToken | null;
  },
): Promise<Buffer> {
  const sha256 = createHash('sha256').update(der).digest();
  const tbsSha256 = createHash('sha256').update(built.draft.tbsDer).digest();
  const { number, thisUpdate, nextUpdate, entryCount } = built;
  await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    const crl = { issuerId: issuer.id, number, thisUpdate, nextUpdate, entryCount, sha256, der, tbsSha256, lease };
    await deps.store.record(tx, crl);
    if (dirty !== null) await deps.store.clearDirty(tx, issuer.id, dirty);
    await deps.ledger.append(tx, [
      {
        kind: 'crl.published',
        subject: `issuer:${issuer.label}`,
        at: deps.clock.now(),
        body: { issuerId: issuer.id, number, thisUpdate, nextUpdate, entryCount, sha256, fence: lease.fence },
      },
    ]);
  });
  return sha256;
}
