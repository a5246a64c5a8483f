/**
 * An approved request becomes a recorded, signed certificate.
 * Promises: nothing is signed before its intent is committed; nothing is answered before its record is; one serial, one
 * signature; what a crash leaves behind is turned into a revoked serial by the reconciler.
 * The only caller of the signer for leaves.
 */
export type * from './issuance.js';
