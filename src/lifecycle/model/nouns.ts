import type { UnitState } from './unit-state.js';

/** A femtocell as the registry knows it. */
export interface Unit {
  readonly id: number;
  readonly makerId: number;
  readonly batchId: number;
  /** e.g. `SHB-24-00817`; upper case, normalised once at the manifest. */
  readonly serialNumber: string;
  /** EUI-48 or EUI-64, 12 or 16 lower-case hex digits (TS 23.003 clause 4.10). */
  readonly eui: string;
  /** `<eui>.<realm>`: the one name its certificates carry. */
  readonly fqdn: string;
  readonly model: string;
  readonly profile: string;
  readonly state: UnitState;
  /** Rises with every revocation; an issuance that started before is void (T2 checks it). */
  readonly revocationEpoch: number;
  readonly lineId: number | null;
  readonly vendorSpkiHash: Buffer | null;
}

export type IssuerKind =
  | 'root-access'
  | 'root-bootstrap'
  | 'root-services'
  | 'device-ca'
  | 'bootstrap-ca'
  | 'services-ca';

/** A CA of ours. Gateways and listeners compare the exact key, never a name (rules 1.2). */
export interface Issuer {
  readonly id: number;
  readonly label: string;
  readonly kind: IssuerKind;
  /** closing: issues nothing any more, what it issued is good until it ends; retired: nothing of it is. */
  readonly state: 'active' | 'spare' | 'closing' | 'retired' | 'offline';
  readonly keyLabel: string;
  readonly certificateDer: Buffer;
  readonly subjectDer: Buffer;
  readonly keyIdentifier: Buffer;
  readonly spkiDer: Buffer;
  readonly notAfter: Date;
}

export type CertificatePurpose = 'operational' | 'bootstrap' | 'services';

/** A recorded certificate, by value. */
export interface CertificateRecord {
  readonly issuerId: number;
  /** 16 octets, first octet 01. */
  readonly serial: Buffer;
  readonly purpose: CertificatePurpose;
  readonly unitId: number | null;
  readonly machineId: number | null;
  readonly slotId: number | null;
  readonly generation: number | null;
  readonly spkiHash: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly attemptId: string;
  readonly issuedAt: Date;
  readonly der: Buffer;
}

export const SLOT_STATES = ['signing', 'abandoned', 'pending', 'confirmed', 'displaced'] as const;
export type SlotState = (typeof SLOT_STATES)[number];

/** One generation of a lineage: who holds the slot and how far it got (rules 4). */
export interface LineageSlot {
  readonly id: number;
  readonly lineageId: number;
  readonly unitId: number;
  readonly generation: number;
  readonly state: SlotState;
  readonly spkiHash: Buffer;
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly attemptId: string;
  readonly preissued: boolean;
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  readonly createdAt: Date;
  readonly confirmedAt: Date | null;
  readonly displacedAt: Date | null;
}

/** RFC 5280 section 5.3.1 reason codes that we use. */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
} as const;
export type RevocationReason = keyof typeof REVOCATION_REASONS;

/** Who did something, as the ledger names it: `person:kim`, `unit:SHB-24-00817`, `machine:station-1`, `system:reconciler`. */
export type Actor = string;

export type EvidenceGrade = 'soft' | 'strong' | 'hard';
