/** Renewal opens at 2/3 of the remaining life ± 10 %, spread at random; a client never passes 90 %. */
const RENEW_FROM = { earliest: 0.6, spread: 0.1333 } as const;
const RENEW_UNTIL = 0.9;

/**
 * The window written with a certificate.
 *
 * @param part  0 to 1, drawn for this certificate: units that were made together do not come together
 */
export function renewalWindow(now: Date, notAfter: Date, part: number): { renewFrom: Date; renewUntil: Date } {
  const remainingMs = notAfter.getTime() - now.getTime();
  return {
    renewFrom: new Date(now.getTime() + remainingMs * (RENEW_FROM.earliest + RENEW_FROM.spread * part)),
    renewUntil: new Date(now.getTime() + remainingMs * RENEW_UNTIL),
  };
}
