import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import type { Actor } from '../model/index.js';
import { checkNote, restrictUnits, unitsTouched } from './restrict.js';
import { checkRestrictionBudget, secondPerson } from './restriction-budget.js';
import type { BlockedKey, Requester, RestrictOutcome, StatusChange } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { distinctUnits, writeStatus } from './write-status.js';

/** A list of keys is one transaction, and one act that two people may have to sign. */
export const KEYS_AT_ONCE_MAX = 1_000;

interface KeyBlock extends Requester {
  readonly spkiHashes: readonly Buffer[];
  readonly note: string;
  readonly source: string;
}

/** REV-5: whatever carries one of these keys stops being trusted, and no request brings them again. */
export async function blockKeys(
  deps: RevocationDeps,
  request: KeyBlock,
): Promise<RestrictOutcome & { readonly keys: readonly BlockedKey[] }> {
  const { source, note, actor } = request;
  checkNote(note);
  const spkiHashes = distinctHashes(request.spkiHashes);
  if (spkiHashes.length > KEYS_AT_ONCE_MAX) {
    throw new FemtoError('BAD_REQUEST', `At most ${KEYS_AT_ONCE_MAX} keys at once; split the list.`);
  }
  return deps.transactor.run(async (tx) => {
    const approvedBy = await secondPerson(tx, request);
    const at = deps.clock.now();
    await refuseOwnCaKeys(deps, tx, spkiHashes);
    // First: whoever claims one of these keys in an open transaction is waited for, so that what it intends is found below.
    const fresh = new Set(await enterBlockedKeys(deps, tx, { spkiHashes, source, actor, note, at }));
    const byVendor = await deps.store.unitsOfVendorKeys(tx, spkiHashes);
    const found = await deps.store.certificatesOfKeys(tx, spkiHashes, at);
    await deps.store.lockUnits(tx, [...new Set([...distinctUnits(found), ...byVendor.map(({ id }) => id)])]);
    // Read again under the lock: a record that committed in between is found now, a later one is refused (T2).
    const certificates = await deps.store.certificatesOfKeys(tx, spkiHashes, at);
    const unitIds = distinctUnits([...certificates, ...byVendor.map(({ id }) => ({ unitId: id }))]);

    const by = { actor, at, note };
    const revoked: StatusChange = { ...by, state: 'revoked', reason: 'keyCompromise', voidsInFlight: true };
    const changed = await writeStatus(deps, tx, certificates, revoked);
    const held: StatusChange = { ...by, state: 'held', reason: 'certificateHold' };
    const rest = await restrictUnits(deps, tx, { unitIds, to: 'SUSPENDED', change: held, evidence: undefined });
    const units = Math.max(rest.units, unitsTouched(changed));
    await checkRestrictionBudget(deps, tx, { ...request, approvedBy, units, what: 'key', at });

    const serialNumbers = await deps.store.serialNumbers(tx, unitIds);
    const owners = await deps.store.firstOwners(tx, spkiHashes);
    const keys = spkiHashes.map((spkiHash): BlockedKey => {
      const own = certificates.filter((certificate) => certificate.spkiHash.equals(spkiHash));
      const holders = [
        ...own,
        ...byVendor.filter((unit) => unit.spkiHash.equals(spkiHash)).map(({ id }) => ({ unitId: id })),
      ];
      const hex = spkiHash.toString('hex');
      return {
        spkiHash,
        isNew: fresh.has(hex),
        certificates: own.length,
        units: distinctUnits(holders).flatMap((id) => serialNumbers.get(id) ?? []),
        firstOwner: owners.get(hex) ?? null,
      };
    });
    return { units, certificates: changed.length + rest.certificates, blockedKeys: fresh.size, keys };
  });
}

/** @returns hex of those that are new; for the others nothing is written */
export async function enterBlockedKeys(
  deps: Pick<RevocationDeps, 'store' | 'ledger'>,
  tx: Transaction,
  by: { spkiHashes: readonly Buffer[]; source: string; actor: Actor; note: string; at: Date },
): Promise<string[]> {
  const { spkiHashes, source, actor, note, at } = by;
  const known = await deps.store.blockedAmong(tx, spkiHashes);
  const fresh = spkiHashes.filter((hash) => !known.has(hash.toString('hex')));
  await deps.store.blockKeys(tx, spkiHashes, { reason: note, source, at });
  await deps.ledger.append(
    tx,
    fresh.map((spkiHash): LedgerEntry => {
      const body = { spkiSha256: spkiHash, source, actor, note };
      return { kind: 'key.blocked', subject: `key:${spkiHash.toString('hex')}`, at, body };
    }),
  );
  return fresh.map((hash) => hash.toString('hex'));
}

async function refuseOwnCaKeys(
  { store }: RevocationDeps,
  tx: Transaction,
  spkiHashes: readonly Buffer[],
): Promise<void> {
  const own = await store.ownCasOfKeys(tx, spkiHashes);
  if (own.length === 0) return;
  throw new FemtoError(
    'DENIED',
    `This is the key of one of our own CAs (${own.join(', ')}): nothing was blocked. Stop issuing with femtopki admission freeze, then take the CA out of use at a ceremony.`,
    { facts: { issuers: own } },
  );
}

function distinctHashes(hashes: readonly Buffer[]): Buffer[] {
  return [...new Map(hashes.map((hash) => [hash.toString('hex'), hash])).values()].sort(Buffer.compare);
}
