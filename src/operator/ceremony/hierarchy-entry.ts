import type { HierarchyEntry } from '../../platform/hsm/hierarchy.js';
import { type Certificate, certificatePem } from '../../x509/certificate.js';
import { serialHex } from '../../x509/serial.js';

const HOUR_SECONDS = 3_600;
export const DAY_SECONDS = 24 * HOUR_SECONDS;
/** Leaves are backdated an hour; their CAs begin before that, and the roots before their CAs. */
export const BACKDATE = { root: 3 * HOUR_SECONDS, ca: 2 * HOUR_SECONDS, leaf: HOUR_SECONDS } as const;

export type EntryPlace = Pick<HierarchyEntry, 'label' | 'kind' | 'state' | 'issuerLabel' | 'tokenLabel' | 'answersFor'>;

/** One line of hierarchy.json. The key's label in its token is the entry's own. */
export function hierarchyEntry(place: EntryPlace, certificate: Certificate, statusUrl: string): HierarchyEntry {
  return {
    ...place,
    keyLabel: place.label,
    certificatePem: certificatePem(certificate.der),
    certificateSha256: certificate.fingerprint,
    serialHex: serialHex(certificate.serial),
    subjectDerHex: certificate.subjectDer.toString('hex'),
    keyIdentifierHex: certificate.ski?.toString('hex') ?? '',
    spkiHex: certificate.spki.spkiDer.toString('hex'),
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
    ...(isIssuerKind(place.kind)
      ? { crlUrl: crlUrlOf(statusUrl, place.label), caUrl: caUrlOf(statusUrl, place.label) }
      : {}),
    // Roots have no OCSP: their CRL of one hundred days says it all.
    ...(place.kind.endsWith('-ca') ? { ocspUrl: ocspUrlOf(statusUrl) } : {}),
  };
}

export function isIssuerKind(kind: HierarchyEntry['kind']): boolean {
  return kind.startsWith('root-') || kind.endsWith('-ca');
}

export function crlUrlOf(statusUrl: string, label: string): string {
  return `${statusUrl}/crl/${label}.crl`;
}

export function caUrlOf(statusUrl: string, label: string): string {
  return `${statusUrl}/ca/${label}.cer`;
}

export function ocspUrlOf(statusUrl: string): string {
  return `${statusUrl}/ocsp`;
}

/** Calendar years, so that a root of 20 years ends on the day people expect. */
export function yearsSeconds(years: number, from: Date): number {
  const to = new Date(from);
  to.setUTCFullYear(to.getUTCFullYear() + years);
  return Math.round((to.getTime() - from.getTime()) / 1_000);
}
