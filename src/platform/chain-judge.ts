/** One certificate, the one root it is to lead to, and what may lie between. Everything DER. */
export interface ChainQuestion {
  readonly leafDer: Buffer;
  /** Self-signed; the only thing believed. */
  readonly rootDer: Buffer;
  /** CAs that may be used on the way and prove nothing by themselves. */
  readonly untrusted: readonly Buffer[];
  readonly crls: readonly Buffer[];
  /**
   * `none`: revocation is not looked at. `leaf`: the CA that signed the leaf must have a current CRL among `crls`. `path`:
   * every CA of the path must.
   */
  readonly revocation: 'none' | 'leaf' | 'path';
  /** The instant at which everything must be valid. */
  readonly at: Date;
}

export type ChainFault =
  | 'revoked'
  /** No path to the root, a wrong signature, a CA that may not be one, or any fault that has no name of its own here. */
  | 'untrusted'
  /** Key or signature algorithm under 112 bits of strength. */
  | 'weak'
  | 'not-yet-valid'
  | 'expired'
  /** A CRL that is needed is missing, out of date or does not verify. */
  | 'crl';

export type ChainVerdict =
  | { readonly isTrusted: true }
  /** `text`: the judge's own words, one line, for people. */
  | { readonly isTrusted: false; readonly fault: ChainFault; readonly text: string };

/** Judges paths by RFC 5280 section 6. Never JavaScript: a path engine of our own would be the weakest one here. */
export interface ChainJudge {
  /** @throws FemtoError RETRY_LATER when it is busy or too slow; INTERNAL when the judge cannot be asked at all */
  judge(question: ChainQuestion): Promise<ChainVerdict>;
}
