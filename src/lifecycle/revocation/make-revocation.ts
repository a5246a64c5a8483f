import type { Transaction } from '../../platform/db/transaction.js';
import { blockKeys } from './block-keys.js';
import { release, releaseCertificates } from './release.js';
import { endService, quarantine, restrict } from './restrict.js';
import { checkRestrictionBudget } from './restriction-budget.js';
import type { Revocation } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { revokeByUnit } from './revoke-by-unit.js';
import { writeStatus } from './write-status.js';

export function makeRevocation(deps: RevocationDeps): Revocation {
  return {
    setStatus: async (tx, certificates, change) => (await writeStatus(deps, tx, certificates, change)).length,
    setUnitStatus: async (tx, unitIds, change) => {
      await deps.store.lockUnits(tx, unitIds);
      await deps.registry.raiseRevocationEpoch(tx, unitIds);
      const certificates = await deps.store.certificatesOfUnits(tx, unitIds, change.at);
      return (await writeStatus(deps, tx, certificates, change)).length;
    },
    revoke: (request) => restrict(deps, request, 'revoked'),
    hold: (request) => restrict(deps, request, 'held'),
    quarantine: (tx, request) => quarantine(deps, tx, request),
    reportLost: (request) => endService(deps, request, 'LOST'),
    retire: (request) => endService(deps, request, 'RETIRED'),
    release: (request) => release(deps, request),
    releaseCertificates: (request) => releaseCertificates(deps, request),
    revokeByUnit: (request) => revokeByUnit(deps, request),
    blockKeys: (request) => blockKeys(deps, request),
    revokeUnrecorded: (tx, certificate, by) => revokeUnrecorded(deps, tx, certificate, by),
    checkRestrictionBudget: (tx, use) => checkRestrictionBudget(deps, tx, use),
  };
}

async function revokeUnrecorded(
  deps: RevocationDeps,
  tx: Transaction,
  certificate: Parameters<Revocation['revokeUnrecorded']>[1],
  { actor, at }: Parameters<Revocation['revokeUnrecorded']>[2],
): Promise<boolean> {
  const { issuerId, serial, notAfter, spkiHash } = certificate;
  if (await deps.store.isRecorded(tx, certificate)) return false;
  // Its key is not blocked: whoever signs outside the system could put anybody's public key into such a certificate.
  const note = `NOT_RECORDED: chains to us, key ${spkiHash.toString('hex')}`;
  const change = { state: 'revoked', reason: 'keyCompromise', actor, at, note } as const;
  const entered = (await writeStatus(deps, tx, [{ issuerId, serial, notAfter, unitId: null }], change)).length > 0;
  if (entered) {
    const body = { issuerId, serial: serial.toString('hex'), spkiHash: spkiHash.toString('hex'), by: actor };
    await deps.ledger.append(tx, [
      { kind: 'certificate.unrecorded', subject: `certificate:${serial.toString('hex')}`, at, body },
    ]);
  }
  return entered;
}
