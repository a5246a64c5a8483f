/**
 * Who has heard of a revocation: the one ordered ledger as gateways read it, and how far each of them says it has come.
 * Promises: a page holds every revocation, hold and release between two positions, or says that it cannot; an
 * acknowledgement only goes forward, never beyond what exists, and received is never taken for enforced.
 */
export {
  type AckStage,
  type CrlPlace,
  type FeedEntry,
  type FeedEvent,
  type FeedPage,
  PAGE_ENTRIES_MAX,
  positionText,
  readPosition,
} from './feed.js';
export type * from './feed-store.js';
export { type Feed, type FeedDeps, makeFeed } from './make-feed.js';
export { BEHIND_SECONDS, type FeedStatus, type GatewayStanding } from './standing.js';
