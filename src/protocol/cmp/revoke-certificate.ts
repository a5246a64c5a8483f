import { headOf } from '../../lifecycle/lineage/index.js';
import type { Unit } from '../../lifecycle/model/index.js';
import type { UnitRevocation } from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import { CmpFault } from '../../x509/cmp/index.js';
import type { Answer } from './answer.js';
import type { CmpDeps } from './cmp-deps.js';
import type { Wish } from './exchange.js';
import { noteRefusal } from './note-refusal.js';

/** rr: a unit gives up the certificate that protects the message, and no other. What is refused here is said in rp. */
export async function revokeCertificate(deps: CmpDeps, wish: Wish): Promise<Answer> {
  try {
    const { unit, certificate, reason } = readRevocation(deps, wish);
    const { issuerId, serial, notAfter, spki } = certificate;
    await checkHead(deps, unit, serial);
    await deps.revocation.revokeByUnit({
      unit,
      certificate: { issuerId, serial, notAfter, spkiHash: spki.spkiHash },
      reason,
      actor: `unit:${unit.serialNumber}`,
      note: 'asked for by the unit itself',
    });
    const certId = { issuerDer: certificate.issuerDer, serial };
    return { body: { kind: 'rp', status: 'accepted', certId }, next: 'closed' };
  } catch (thrown) {
    const { failInfo, text } = await noteRefusal(deps, wish.exchange, thrown);
    return { body: { kind: 'rp', status: 'rejection', failInfo, text }, next: 'closed' };
  }
}

function readRevocation(deps: CmpDeps, { message: { body }, sender }: Wish) {
  const [only, ...more] = body.kind === 'rr' ? body.details : [];
  if (only === undefined || more.length > 0) throw new CmpFault('badRequest', 'exactly one RevDetails is served');
  // Proving a secret proves nothing that could be given back.
  if (sender.kind === 'mac') throw new CmpFault('wrongIntegrity', 'rr is protected by a signature');
  const { certificate, kind, record, unit } = sender.credential;
  const { certId, reasonCode = UNSPECIFIED } = only;
  if (certId === undefined) throw new CmpFault('badDataFormat', 'certDetails must have issuer and serialNumber');
  if (!certId.serial.equals(certificate.serial) || !certId.issuerDer.equals(certificate.issuerDer)) {
    throw new CmpFault('badCertId', 'a unit may revoke only the certificate that protects the message');
  }
  if (kind !== 'operational') {
    throw new FemtoError(
      'NOT_ACTIVATED',
      'A bootstrap or vendor certificate is not the unit’s to revoke; ask a depot.',
    );
  }
  if (deps.clock.now() > certificate.notAfter) {
    throw new FemtoError('CERT_EXPIRED', 'The certificate has run out; there is nothing left to revoke.');
  }
  const reason = REASONS.get(reasonCode);
  if (reason === undefined) {
    throw new CmpFault('notAuthorized', 'this reason is not for a unit to give', { facts: { reasonCode } });
  }
  return { unit, certificate: { ...certificate, issuerId: record.issuerId }, reason };
}

/**
 * An rr carries nothing of ours, so it may be an old one that somebody held back. As long as nothing followed the certificate
 * that does not matter; afterwards it would suspend a unit that has gone on (rules section 4: nobody is restricted without
 * live proof).
 */
async function checkHead(deps: CmpDeps, { id }: Unit, serial: Buffer): Promise<void> {
  const live = await deps.lineages.liveViewOfUnit(deps.transactor.read, id);
  if (live !== null && headOf(live.slots)?.serial.equals(serial) === true) return;
  throw new FemtoError(
    'CERT_SUPERSEDED',
    'The certificate is not the unit’s newest; revoke that one, or ask a person.',
  );
}

const UNSPECIFIED = 0;
/** Hold and un-hold are for people (rules section 4). */
const REASONS: ReadonlyMap<number, UnitRevocation['reason']> = new Map([
  [UNSPECIFIED, 'unspecified'],
  [1, 'keyCompromise'],
  [4, 'superseded'],
  [5, 'cessationOfOperation'],
]);
