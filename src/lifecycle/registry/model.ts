/**
 * What the units of one model may do otherwise than the standards say, because their firmware cannot change. Each is off
 * until a person turns it on for that maker and model; none of them widens who is believed.
 */
export const TOLERANCES = [
  /** CMP certConf whose CertStatus has no statusInfo (RFC 4210 section 5.3.18 reads it as accepted anyway). */
  'certconf-without-status',
  /** A vendor certificate without a keyUsage extension. One whose keyUsage lacks digitalSignature is never taken. */
  'vendor-without-key-usage',
  /** CA certificates of a CMP message in any order, not each certifying the one before (RFC 9483 section 3.3). */
  'extra-certs-any-order',
  /** CMP messages that open an exchange without the certificate that protects them (RFC 9483 section 3.3). */
  'extra-certs-absent',
  /** CMP sender as the empty name, not the subject of the protecting certificate (RFC 9483 section 3.1). */
  'sender-null-dn',
  /** CMP implicit confirm granted without being asked for, because the unit never sends certConf. */
  'implicit-confirm-always',
] as const;
export type Tolerance = (typeof TOLERANCES)[number];

/** How we treat one maker's model. A model that nobody configured has no label and none of the exceptions. */
export interface UnitModel {
  readonly makerId: number;
  /** As manifests name it. */
  readonly model: string;
  /** Path segment of this model's EST and CMP addresses; null: the addresses without one only. */
  readonly label: string | null;
  readonly tolerances: ReadonlySet<Tolerance>;
  /** May its units ask for a bootstrap certificate with a shared secret (rules 3.2)? */
  readonly macAllowed: boolean;
}

export interface ListedModel extends UnitModel {
  readonly makerName: string;
  readonly changedBy: string;
  readonly changedAt: Date;
}

export interface ModelKey {
  readonly makerId: number;
  readonly model: string;
}

/** What a model is until a person says otherwise. */
export function plainModel({ makerId, model }: ModelKey): UnitModel {
  return { makerId, model, label: null, tolerances: new Set(), macAllowed: false };
}
