import type { Transaction } from '../../platform/db/transaction.js';
import { release } from './release.js';
import { blockKey, quarantine, reportLost, restrict } from './restrict.js';
import { checkRestrictionBudget, UNITS_ALONE_MAX } from './restriction-budget.js';
import type { Requester, RestrictPreview, Revocation, Selection } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { revokeByUnit } from './revoke-by-unit.js';
import { distinctUnits, writeStatus } from './write-status.js';

export function makeRevocation(deps: RevocationDeps): Revocation {
  return {
    setStatus: async (tx, certificates, change) => (await writeStatus(deps, tx, certificates, change)).length,
    setUnitStatus: async (tx, unitIds, change) => {
      await deps.store.lockUnits(tx, unitIds);
      await deps.registry.raiseRevocationEpoch(tx, unitIds);
      const certificates = await deps.store.certificatesOfUnits(tx, unitIds, change.at);
      return (await writeStatus(deps, tx, certificates, change)).length;
    },
    preview: (selection, requester) => preview(deps, selection, requester),
    revoke: (request) => restrict(deps, request, 'revoked'),
    hold: (request) => restrict(deps, request, 'held'),
    quarantine: (tx, request) => quarantine(deps, tx, request),
    reportLost: (request) => reportLost(deps, request),
    release: (request) => release(deps, request),
    revokeByUnit: (request) => revokeByUnit(deps, request),
    blockKey: (request) => blockKey(deps, request),
    revokeUnrecorded: (tx, certificate, by) => revokeUnrecorded(deps, tx, certificate, by),
    checkRestrictionBudget: (tx, use) => checkRestrictionBudget(deps, tx, use),
  };
}

/** Reads only; what it counts may have changed when the request is made, which counts again. */
async function preview(deps: RevocationDeps, selection: Selection, requester: Requester): Promise<RestrictPreview> {
  return deps.transactor.run(async (tx) => {
    const at = deps.clock.now();
    const selected = await deps.store.unitIds(tx, selection);
    const certificates =
      selected !== null
        ? await deps.store.certificatesOfUnits(tx, selected, at)
        : selection.by === 'certificate' || selection.by === 'key' || selection.by === 'lineage'
          ? await deps.store.certificatesBy(tx, selection, at)
          : [];
    const unitIds = selected ?? distinctUnits(certificates);
    const units = Math.max(unitIds.length, certificates.length > 0 ? 1 : 0);
    const used =
      requester.personId === null
        ? 0
        : await deps.store.lockRestrictionUse(tx, requester.personId, new Date(at.getTime() - 24 * 3_600_000));
    const needsApproval = requester.personId !== null && used + units > UNITS_ALONE_MAX;
    return { units, certificates: certificates.length, unitIds, needsApproval };
  });
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
