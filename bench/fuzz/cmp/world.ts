import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { LineageView } from '../../../src/lifecycle/lineage/index.js';
import type { CertificateRecord, Issuer, Unit } from '../../../src/lifecycle/model/index.js';
import type { RaCredential } from '../../../src/protocol/cmp/cmp-deps.js';
import type { Certificate } from '../../../src/x509/certificate.js';
import { readSpki } from '../../../src/x509/spki.js';
import {
  FQDN,
  factsOf,
  hierarchy,
  issued,
  type Issuer as MadeIssuer,
  NOW,
  operationalTemplate,
} from '../../../test/unit/x509/hierarchy.js';

/** One unit with a key of each kind, the CAs behind them, and the key that protects answers. */

export interface Holder {
  readonly kind: 'operational' | 'bootstrap' | 'vendor';
  readonly key: KeyObject;
  readonly certificate: Certificate;
  /** CAs that the unit sends along. */
  readonly chain: readonly Buffer[];
  /** Null for a vendor's. */
  readonly record: CertificateRecord | null;
}

/** An hour into every certificate's life. */
export const CLOCK = new Date(NOW.getTime() + 3_600_000);
export const MAC_REFERENCE = 'fuzz-mac-reference-0001';
export const MAC_SECRET = Buffer.from('q3V0c2VjcmV0LW9mLTI1Ni1iaXQtbGVuZ3RoLWhlcmU', 'latin1');

export const UNIT: Unit = {
  id: 1,
  makerId: 1,
  batchId: 1,
  serialNumber: 'SHB-24-00817',
  eui: FQDN.slice(0, 12),
  fqdn: FQDN,
  model: 'FC-1',
  profile: 'operational-7d',
  state: 'ACTIVE',
  revocationEpoch: 0,
  lineId: 1,
  vendorSpkiHash: null,
};

const ATTEMPT = '00000000-0000-4000-8000-000000000000';
const ours = { access: hierarchy(), bootstrap: hierarchy(), services: hierarchy(), vendor: hierarchy() };

function row(id: number, label: string, kind: Issuer['kind'], { certificate }: MadeIssuer): Issuer {
  const { der, subjectDer, ski = Buffer.alloc(0), spki, notAfter } = certificate;
  const state = 'active';
  return {
    id,
    label,
    kind,
    state,
    keyLabel: label,
    certificateDer: der,
    subjectDer,
    keyIdentifier: ski,
    spkiDer: spki.spkiDer,
    notAfter,
  };
}

export const ISSUERS: readonly Issuer[] = [
  row(1, 'device-ca-1', 'device-ca', ours.access.deviceCa),
  row(2, 'access-root', 'root-access', ours.access.root),
  row(3, 'bootstrap-ca', 'bootstrap-ca', ours.bootstrap.deviceCa),
  row(4, 'bootstrap-root', 'root-bootstrap', ours.bootstrap.root),
  row(5, 'services-ca', 'services-ca', ours.services.deviceCa),
];

/** Of an operational certificate, whose request is always granted. */
export const CHAIN = [ours.access.deviceCa.certificate.der, ours.access.root.certificate.der];

function holder(kind: Holder['kind'], issuer: MadeIssuer, issuerId: number | null): Holder {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const facts = {
    ...factsOf('operational', readSpki(publicKey.export({ type: 'spki', format: 'der' })), FQDN),
    sanDns: FQDN,
  };
  const certificate = issued(operationalTemplate(issuer).build(facts), issuer, issuer.alg);
  return {
    kind,
    key: privateKey,
    certificate,
    chain: kind === 'vendor' ? [issuer.certificate.der] : [],
    record: issuerId === null ? null : recordOf(certificate, issuerId),
  };
}

function recordOf({ der, serial, spki, notBefore, notAfter }: Certificate, issuerId: number): CertificateRecord {
  return {
    ...{ issuerId, serial, spkiHash: spki.spkiHash, notBefore, notAfter, der, issuedAt: notBefore },
    ...{ purpose: issuerId === 1 ? 'operational' : 'bootstrap', unitId: UNIT.id, machineId: null },
    ...{ slotId: null, generation: null, attemptId: ATTEMPT },
  };
}

export const HOLDERS = {
  operational: holder('operational', ours.access.deviceCa, 1),
  bootstrap: holder('bootstrap', ours.bootstrap.deviceCa, 3),
  vendor: holder('vendor', ours.vendor.deviceCa, null),
} as const;

/** The unit's lineage: its operational certificate is the newest. */
export const LIVE: LineageView = {
  lineage: {
    ...{ id: 1, unitId: UNIT.id, state: 'open', openedAt: NOW, closedAt: null, closeReason: null },
    ...{ tokenHash: null, lastSoftAt: null },
  },
  slots: [
    {
      ...{ id: 1, lineageId: 1, unitId: UNIT.id, generation: 1, state: 'confirmed', issuerId: 1, preissued: false },
      ...{ spkiHash: HOLDERS.operational.certificate.spki.spkiHash, serial: HOLDERS.operational.certificate.serial },
      ...{ notBefore: NOW, notAfter: HOLDERS.operational.certificate.notAfter, renewFrom: CLOCK, renewUntil: CLOCK },
      ...{ attemptId: ATTEMPT, createdAt: NOW, confirmedAt: NOW, displacedAt: null },
    },
  ],
};

/** What every granted request is answered with. */
export const GRANTED = holder('operational', ours.access.deviceCa, 1);

const raHolder = holder('operational', ours.services.deviceCa, 5);
export const RA_SPKI = raHolder.certificate.spki;
export const RA: RaCredential = {
  certificateDer: raHolder.certificate.der,
  chain: [ours.services.deviceCa.certificate.der, ours.services.root.certificate.der],
  keyIdentifier: raHolder.certificate.ski ?? Buffer.alloc(0),
  subjectDer: raHolder.certificate.subjectDer,
  sign: (data) => sign('sha256', data, raHolder.key),
};
