/** How much of a CRL's life is left, and whether somebody must be told (REV-3, rules 1.4, fault S6). */
export interface CrlHealth {
  readonly label: string;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** 1 = just published, 0 = at nextUpdate, negative after it. */
  readonly lifeLeft: number;
  /** Signed by hand at a ceremony, not by the rotation worker. */
  readonly isCeremonial: boolean;
  readonly alarm: 'none' | 'half-life' | 'expiring' | 'expired';
}

/** Online CAs alarm at half life and page at a tenth; roots, signed by hand for 100 days, at 30 days left. */
export function crlHealth(
  crl: { readonly label: string; readonly thisUpdate: Date; readonly nextUpdate: Date },
  now: Date,
): CrlHealth {
  const lifeMs = crl.nextUpdate.getTime() - crl.thisUpdate.getTime();
  const leftMs = crl.nextUpdate.getTime() - now.getTime();
  const lifeLeft = lifeMs > 0 ? leftMs / lifeMs : 0;
  const isCeremonial = lifeMs > 7 * DAY_MS;
  const isDueForAlarm = isCeremonial ? leftMs < 30 * DAY_MS : lifeLeft < 0.5;
  const isExpiring = isCeremonial ? leftMs < 7 * DAY_MS : lifeLeft < 0.1;
  const alarm = leftMs <= 0 ? 'expired' : isExpiring ? 'expiring' : isDueForAlarm ? 'half-life' : 'none';
  return { label: crl.label, thisUpdate: crl.thisUpdate, nextUpdate: crl.nextUpdate, lifeLeft, isCeremonial, alarm };
}

const DAY_MS = 86_400_000;
