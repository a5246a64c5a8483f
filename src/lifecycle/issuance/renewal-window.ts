/** Where in a certificate's remaining life its window opens: `dueAt` of it, give or take `jitter` of that moment. */
export interface RenewalSpread {
  /** 0 to 1. */
  readonly dueAt: number;
  /** 0 to 1. */
  readonly jitter: number;
}

const SPREAD: RenewalSpread = { dueAt: 2 / 3, jitter: 0.1 };
/** No client passes this part of the life (REN-1): what is left is for outages. */
const RENEW_UNTIL = 0.9;

/**
 * The window written with a certificate.
 *
 * @param part  0 to 1, drawn for this certificate: units that were made together do not come together
 */
export function renewalWindow(
  now: Date,
  notAfter: Date,
  part: number,
  { dueAt, jitter } = SPREAD,
): { renewFrom: Date; renewUntil: Date } {
  const remainingMs = notAfter.getTime() - now.getTime();
  return {
    renewFrom: new Date(now.getTime() + remainingMs * dueAt * (1 - jitter + 2 * jitter * part)),
    renewUntil: new Date(now.getTime() + remainingMs * RENEW_UNTIL),
  };
}
