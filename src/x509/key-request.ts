import { FemtoError } from '../platform/errors.js';
import { badDer } from './der-reader.js';
import type { Extension } from './extension.js';
import { readBasicConstraints, readExtendedKeyUsage, readKeyUsage } from './extension-values.js';
import { readAltNames } from './general-name.js';
import { OID } from './oids.js';
import { type SignatureAlgorithm, verifySignature } from './signature-algorithm.js';
import type { Spki } from './spki.js';

const WHAT = 'certificate request';

/**
 * What a unit asks a certificate with, read strictly, whichever form it came in: PKCS#10 or CRMF. What it asks for is a
 * wish: names and extensions come from registry and profile.
 */
export interface KeyRequest {
  readonly der: Buffer;
  /** What the signature covers, as received: certificationRequestInfo, or CRMF's certReq or poposkInput. */
  readonly signedDer: Buffer;
  readonly spki: Spki;
  readonly subjectDer: Buffer;
  readonly commonName?: string;
  readonly challengePassword?: string;
  /** dNSName entries of the requested subjectAltName, as sent. */
  readonly sanDns: readonly string[];
  readonly asksFor: Wishes;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** Content of the signature BIT STRING. */
  readonly signature: Buffer;
}

export interface Wishes {
  readonly ca: boolean;
  readonly keyUsageCertSign: boolean;
  /** Other subjectAltName entries as `kind:value`, for the record only. */
  readonly otherNames: readonly string[];
  readonly extensionOids: readonly string[];
}

/** Proof of possession: is the request signed by the key it carries? */
export function verifyPossession(request: KeyRequest): boolean {
  return verifySignature(request.signatureAlgorithm, request.signedDer, request.spki, request.signature);
}

/**
 * Refuses a request whose wishes contradict the unit it is for. An empty subject, and a CN that is no host name (a unit
 * serial), are fine: neither is copied.
 *
 * @param expected  `fqdn`: the unit's name from the registry, lower case
 * @throws FemtoError ID_MISMATCH another name, wildcard, CA or keyCertSign; BAD_REQUEST a name nobody could have meant
 */
export function checkWishes(request: KeyRequest, { fqdn }: { fqdn: string }): void {
  for (const name of request.sanDns) {
    if (!HOST_TEXT.test(name)) throw badDer(WHAT, 'asks for a name with characters no host name has');
    if (name.toLowerCase() !== fqdn) throw mismatch('asks for another name than the unit has');
  }
  const { commonName } = request;
  if (commonName !== undefined) {
    // A look-alike letter is never an accident in a name that is ASCII by standard.
    if (/[^\x20-\x7e]/.test(commonName)) throw badDer(WHAT, 'has a commonName outside ASCII');
    if (HOST_LIKE.test(commonName) && commonName.toLowerCase() !== fqdn) {
      throw mismatch('has a commonName of another unit');
    }
  }
  if (request.asksFor.ca) throw mismatch('asks to be a CA');
  if (request.asksFor.keyUsageCertSign) throw mismatch('asks for the right to sign certificates');
}

/** Extensions whose wish we understand well enough to answer; any other may be asked for, but not as critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.subjectKeyIdentifier,
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.extendedKeyUsage,
]);

/**
 * What the requested extensions ask for.
 *
 * @throws FemtoError BAD_REQUEST an unknown critical one, or one that is malformed
 */
export function readWishes(extensions: readonly Extension[]): { sanDns: string[]; asksFor: Wishes } {
  let ca = false;
  let keyUsageCertSign = false;
  const sanDns: string[] = [];
  const otherNames: string[] = [];
  for (const { id, critical, value } of extensions) {
    if (critical && !UNDERSTOOD.has(id)) throw badDer(WHAT, `asks for the unknown critical extension ${id}`);
    if (id === OID.basicConstraints) ca = readBasicConstraints(value).isCa;
    if (id === OID.keyUsage) keyUsageCertSign = readKeyUsage(value).some((usage) => SIGNING_USAGES.has(usage));
    if (id === OID.extendedKeyUsage) readExtendedKeyUsage(value);
    if (id !== OID.subjectAltName) continue;
    for (const name of readAltNames(value, 'requested subjectAltName')) {
      if (name.kind === 'dns') sanDns.push(name.value);
      else otherNames.push(`${name.kind}:${name.value}`);
    }
  }
  return { sanDns, asksFor: { ca, keyUsageCertSign, otherNames, extensionOids: extensions.map(({ id }) => id) } };
}

const SIGNING_USAGES: ReadonlySet<string> = new Set(['keyCertSign', 'cRLSign']);
const HOST_TEXT = /^[A-Za-z0-9*._-]{1,253}$/;
const HOST_LIKE = /^[A-Za-z0-9*_-]+(\.[A-Za-z0-9*_-]+)+\.?$/;

function mismatch(fault: string): FemtoError {
  return new FemtoError('ID_MISMATCH', `The request ${fault}; ask only for the name on the unit's manifest row.`, {
    facts: { fault },
  });
}
