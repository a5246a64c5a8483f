import { FemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate } from '../../x509/certificate.js';
import { type Crl, readCrl, verifyCrlSignature } from '../../x509/read-crl.js';
import type { VendorAnchor } from './vendor-anchor.js';

/** Kept in the anchor's row and read with it: far more than a maker's CRL of one model has. */
export const VENDOR_CRL_BYTES_MAX = 1_048_576;
/** Clocks of two companies differ a little. */
const AHEAD_MAX_MS = 5 * 60_000;

export interface ReplacedCrls {
  readonly crl: Crl;
  /** The CA that signed it. */
  readonly issuer: Certificate;
  /** All CRLs that the anchor has from now on, DER. */
  readonly crls: readonly Buffer[];
}

/**
 * Takes a maker's CRL in: signed by the anchor or one of its registered CAs, complete, current, and not older than the one
 * it replaces, so that nobody takes a revocation back by sending an old list again.
 *
 * @throws FemtoError BAD_REQUEST form or scope; KEY_WEAK; UNKNOWN_ISSUER nobody registered signed it; STATE_CONFLICT older
 */
export function replaceCrl(anchor: VendorAnchor, der: Buffer, at: Date): ReplacedCrls {
  if (der.length > VENDOR_CRL_BYTES_MAX) throw unfit(`is larger than ${VENDOR_CRL_BYTES_MAX} bytes`);
  const crl = readCrl(der);
  const issuer = signerOf(anchor, crl);
  if (issuer === undefined) {
    throw new FemtoError(
      'UNKNOWN_ISSUER',
      `Neither the anchor ${anchor.name} nor a CA registered with it signed this CRL, or it may not sign CRLs (cRLSign).`,
    );
  }
  checkScope(crl);
  checkTime(crl, at);
  const [older, others] = split(anchor, issuer);
  if (older !== undefined) checkNewer(crl, older);
  return { crl, issuer, crls: [...others, der] };
}

function signerOf(anchor: VendorAnchor, crl: Crl): Certificate | undefined {
  return [anchor.certificateDer, ...anchor.intermediates]
    .map(readCertificate)
    .find(
      ({ subjectDer, keyUsage, spki }) =>
        subjectDer.equals(crl.issuerDer) && keyUsage.includes('cRLSign') && verifyCrlSignature(crl, spki),
    );
}

/** A list of some certificates, some reasons, or of changes only would let the others pass as good. */
function checkScope({ deltaBase, distributionPoint }: Crl): void {
  if (deltaBase !== undefined) throw unfit('is a delta CRL; give the complete one');
  if (distributionPoint === undefined) return;
  const { onlyUserCerts, onlyCaCerts, onlySomeReasons, indirect, onlyAttributeCerts } = distributionPoint;
  if (onlyUserCerts || onlyCaCerts || onlySomeReasons || indirect || onlyAttributeCerts) {
    throw unfit('covers only some certificates or reasons; give the complete one');
  }
}

function checkTime({ thisUpdate, nextUpdate }: Crl, at: Date): void {
  if (nextUpdate === undefined) throw unfit('has no nextUpdate, so that nobody could say when it is stale');
  if (nextUpdate < at) throw unfit(`ended at ${nextUpdate.toISOString()}; get the newest one from the maker`);
  if (thisUpdate.getTime() > at.getTime() + AHEAD_MAX_MS) throw unfit('begins in the future');
}

/** By the key that signed: a CA that changed its key under its old name has a list for each. */
function split(anchor: VendorAnchor, issuer: Certificate): [Crl | undefined, Buffer[]] {
  const known = anchor.crls.map((der) => readCrl(der));
  const isSame = (crl: Crl): boolean => signerOf(anchor, crl)?.spki.spkiHash.equals(issuer.spki.spkiHash) === true;
  return [known.find(isSame), known.filter((crl) => !isSame(crl)).map(({ der }) => der)];
}

function checkNewer(crl: Crl, older: Crl): void {
  const goesBack = crl.number !== undefined && older.number !== undefined && crl.number < older.number;
  if (!goesBack && crl.thisUpdate >= older.thisUpdate) return;
  throw new FemtoError(
    'STATE_CONFLICT',
    'A newer CRL of this CA is registered already; an older one takes nothing back.',
    {
      facts: { registeredAt: older.thisUpdate.toISOString() },
    },
  );
}

function unfit(fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The CRL ${fault}.`, { facts: { fault } });
}
