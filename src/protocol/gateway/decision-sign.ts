/**
 * Signs with the decision key of this process: ECDSA P-256 with SHA-256, as DER or as the two numbers side by side.
 *
 * @throws FemtoError RETRY_LATER while the key is not certified
 */
export type DecisionSign = (
  text: Buffer,
  encoding?: 'der' | 'ieee-p1363',
) => { readonly signature: Buffer; readonly certificatePem: string };
