import { FemtoError } from '../../platform/errors.js';
import { isEmptyName, type NameAttribute, nameAttributes } from '../../x509/distinguished-name.js';
import { OID } from '../../x509/oids.js';
import type { Sender } from './sender.js';

/**
 * A subject that is asked for must be the sender's own: that of the certificate which protects the message, or a name whose
 * every CN and serialNumber is the unit's host name, its serial number, or the CN of that certificate. It is copied nowhere.
 * But the request's own signature covers it, so with a subject nobody can ask with a request that he saw another unit send,
 * and be given its key's certificate.
 *
 * @param subjectDer  whole Name; undefined or empty: nothing is said, nothing is checked
 * @throws FemtoError ID_MISMATCH; BAD_REQUEST as nameAttributes
 */
export function checkSubject(subjectDer: Buffer | undefined, sender: Sender): void {
  if (subjectDer === undefined || isEmptyName(subjectDer)) return;
  const protecting = sender.kind === 'signature' ? sender.credential.certificate.subjectDer : undefined;
  if (protecting?.equals(subjectDer)) return;
  const asked = nameAttributes(subjectDer, 'subject').filter(namesSomebody);
  const own = protecting === undefined ? [] : nameAttributes(protecting, 'subject').filter(isCommonName);
  const { fqdn, serialNumber } = sender.unit;
  const isOwn = ({ value }: NameAttribute): boolean =>
    value.toLowerCase() === fqdn || value === serialNumber || own.some((name) => name.value === value);
  if (asked.length > 0 && asked.every(isOwn)) return;
  throw new FemtoError(
    'ID_MISMATCH',
    'The request has another subject than the unit; send the unit’s host name, its serial number, or no subject.',
    { facts: { fault: 'has another subject than the unit' } },
  );
}

const isCommonName = ({ type }: NameAttribute): boolean => type === OID.commonName;
const namesSomebody = ({ type }: NameAttribute): boolean => type === OID.commonName || type === OID.serialNumber;
