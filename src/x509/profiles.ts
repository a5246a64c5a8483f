import type { KeyUsage } from './extension-values.js';
import { OID } from './oids.js';

export const PROFILE_NAMES = [
  'operational',
  'bootstrap',
  'services-gateway',
  'services-server',
  'services-station',
  'services-operator',
  'services-decision',
  'services-time',
  'services-cmp-ra',
  'services-audit',
  'ocsp-signer',
  'root',
  'root-link',
  'device-ca',
  'bootstrap-ca',
  'services-ca',
] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export type Presence = 'required' | 'optional' | 'absent';

/** What a certificate of one kind looks like. Data only: template and lint read the same row, neither trusts the other. */
export interface CertificateProfile {
  readonly name: ProfileName;
  /** Longest life, notBefore to notAfter inclusive, backdating included. The signer has a ceiling of its own on top. */
  readonly lifeMaxSeconds: number;
  /** Always critical. */
  readonly keyUsage: readonly KeyUsage[];
  /** Dotted OIDs in the order written; empty: no extension. */
  readonly ekus: readonly string[];
  readonly ca: { readonly pathLen?: number } | undefined;
  /** `one-dns`: exactly one dNSName, equal to the commonName. `hosts`: dNSName and iPAddress, at least one. */
  readonly san: 'one-dns' | 'optional-dns' | 'hosts' | 'absent';
  readonly aki: Presence;
  readonly crlUrl: Presence;
  readonly ocspUrl: Presence;
  readonly caUrl: Presence;
  readonly noCheck: boolean;
  readonly nameConstraints: 'required' | 'absent';
  /** Role in the subject's OU: how a verifier tells a decision key from a time key under one Services CA. */
  readonly organizationalUnit?: string;
}

const HOUR = 3_600;
const DAY = 24 * HOUR;

const LEAF = {
  keyUsage: ['digitalSignature'],
  ca: undefined,
  san: 'absent',
  aki: 'required',
  crlUrl: 'optional',
  ocspUrl: 'optional',
  caUrl: 'optional',
  noCheck: false,
  nameConstraints: 'absent',
} as const;

const CA = {
  keyUsage: ['keyCertSign', 'cRLSign'],
  ekus: [],
  san: 'absent',
  aki: 'required',
  crlUrl: 'required', // a strict gateway asks for the root's CRL too, and fails on an intermediate that names none
  ocspUrl: 'absent',
  caUrl: 'optional',
  noCheck: false,
  nameConstraints: 'absent',
  lifeMaxSeconds: 1_827 * DAY, // five years with their leap days
} as const;

export const PROFILES: Readonly<Record<ProfileName, CertificateProfile>> = {
  operational: {
    ...LEAF,
    name: 'operational',
    lifeMaxSeconds: 31 * DAY,
    ekus: [OID.clientAuth, OID.ipsecIke],
    san: 'one-dns',
    crlUrl: 'required',
    ocspUrl: 'required',
    caUrl: 'required',
  },
  bootstrap: {
    ...LEAF,
    name: 'bootstrap',
    lifeMaxSeconds: 1_096 * DAY, // 36 months
    ekus: [OID.clientAuth],
    san: 'optional-dns',
  },
  'services-gateway': {
    ...LEAF,
    name: 'services-gateway',
    lifeMaxSeconds: 30 * DAY,
    ekus: [OID.serverAuth, OID.clientAuth, OID.ipsecIke],
    san: 'hosts',
  },
  'services-server': {
    ...LEAF,
    name: 'services-server',
    lifeMaxSeconds: 30 * DAY,
    ekus: [OID.serverAuth],
    san: 'hosts',
  },
  'services-station': { ...LEAF, name: 'services-station', lifeMaxSeconds: 30 * DAY, ekus: [OID.clientAuth] },
  'services-operator': { ...LEAF, name: 'services-operator', lifeMaxSeconds: 30 * DAY, ekus: [OID.clientAuth] },
  // documentSigning (RFC 9336) keeps TLS stacks from taking these keys for a client's or a server's.
  'services-decision': {
    ...LEAF,
    name: 'services-decision',
    lifeMaxSeconds: 25 * HOUR, // 24 h and the hour of backdating
    ekus: [OID.documentSigning],
    organizationalUnit: 'decision',
  },
  'services-time': {
    ...LEAF,
    name: 'services-time',
    lifeMaxSeconds: 25 * HOUR,
    ekus: [OID.documentSigning],
    organizationalUnit: 'time',
  },
  'services-cmp-ra': {
    ...LEAF,
    name: 'services-cmp-ra',
    lifeMaxSeconds: 30 * DAY,
    ekus: [OID.cmcRa],
    organizationalUnit: 'cmp-ra',
  },
  'services-audit': {
    ...LEAF,
    name: 'services-audit',
    lifeMaxSeconds: 366 * DAY,
    ekus: [OID.documentSigning],
    organizationalUnit: 'audit',
  },
  'ocsp-signer': {
    ...LEAF,
    name: 'ocsp-signer',
    lifeMaxSeconds: 14 * DAY,
    ekus: [OID.ocspSigning],
    crlUrl: 'absent', // nocheck beside a pointer would be a contradiction; the short life is the answer
    ocspUrl: 'absent',
    caUrl: 'absent',
    noCheck: true,
  },
  root: {
    ...CA,
    name: 'root',
    lifeMaxSeconds: 7_305 * DAY, // twenty years
    ca: {},
    aki: 'optional',
    crlUrl: 'absent',
    caUrl: 'absent',
  },
  // One root's key under another root's signature: the way from an old anchor to a new one (RFC 4210 section 4.4).
  'root-link': { ...CA, name: 'root-link', lifeMaxSeconds: 7_305 * DAY, ca: {} },
  'device-ca': { ...CA, name: 'device-ca', ca: { pathLen: 0 }, nameConstraints: 'required' },
  'bootstrap-ca': { ...CA, name: 'bootstrap-ca', ca: { pathLen: 0 } },
  'services-ca': { ...CA, name: 'services-ca', ca: { pathLen: 0 } },
};

/** Seconds a certificate is valid: both ends count (RFC 5280 section 4.1.2.5), so one more than their difference. */
export function lifeSeconds(notBefore: Date, notAfter: Date): number {
  return Math.floor(notAfter.getTime() / 1_000) - Math.floor(notBefore.getTime() / 1_000) + 1;
}

/** notAfter of a certificate that lives exactly this long. */
export function notAfterOf(notBefore: Date, life: number): Date {
  return new Date((Math.floor(notBefore.getTime() / 1_000) + life - 1) * 1_000);
}
