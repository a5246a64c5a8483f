/** Wall clock and randomness are dependencies: lifecycle and x509 never read them by themselves. */
export interface Clock {
  /** The instant now, UTC, millisecond resolution. */
  now(): Date;
}

/** Fills fresh cryptographically strong random bytes. */
export type RandomBytes = (length: number) => Buffer;
