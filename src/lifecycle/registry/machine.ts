import type { Actor } from '../model/index.js';

export const MACHINE_KINDS = ['gateway', 'station', 'server', 'operator', 'decision', 'time', 'cmp-ra'] as const;
export type MachineKind = (typeof MACHINE_KINDS)[number];

/** A holder of a Services certificate. Its role at a listener comes from this row plus the exact issuing key. */
export interface Machine {
  readonly id: number;
  readonly kind: MachineKind;
  /** The certificate's common name, `[a-z0-9-]{2,48}`. */
  readonly name: string;
  /** Stations belong to a maker. */
  readonly makerId: number | null;
  readonly dnsName: string | null;
  readonly state: 'requested' | 'approved' | 'disabled';
  readonly spkiDer: Buffer;
  readonly spkiHash: Buffer;
  readonly requestedBy: Actor;
  readonly approvedBy: number | null;
  /** Newest certificate; null before the first. */
  readonly issuerId: number | null;
  readonly serial: Buffer | null;
  readonly notAfter: Date | null;
  readonly renewRequestedAt: Date | null;
}
