/**
 * A unit's operational certificates as one chain: which generation is the head, who holds a slot, and what it means when
 * an old key comes back with another new one.
 * Promises: the verdict is a pure table over recorded facts (rules section 4); nobody is restricted without live proof;
 * `signing` and `abandoned` slots never count as a fork; a pending successor ends by confirm or displacement, never by time.
 */

export * from './comeback.js';
export { headOf, isStanding, mayComeAgain, type PlacedSlot, previousOf } from './heads.js';
export { type HoldBothDeps, holdBoth, type TwoHolders } from './hold-both.js';
export * from './judge-renewal.js';
export * from './judge-use.js';
export type * from './lineage.js';
export type { LineageStore } from './lineage-store.js';
export { type LineagesDeps, makeLineages } from './make-lineages.js';
