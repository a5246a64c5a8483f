/**
 * A unit's certificate is followed by the next one, in time, once.
 * Promises: the fork table of the lineage decides, and what it decides is recorded before the answer; a lost answer or a
 * power cut gets the same certificate; a hard fork is contained in the transaction that saw it; no window passes 90 % of
 * a life; the worker's decisions run twice without effect twice. A campaign is a signed list that is told to renew wave by wave.
 */

export {
  CAMPAIGN_UNITS_MAX,
  type Campaign,
  type CampaignChange,
  type CampaignJudge,
  type CampaignPreview,
  type CampaignSelection,
  type Campaigns,
  type CampaignTerms,
  type JudgedCampaign,
  type SignedCampaign,
  WAVE_UNITS_MAX,
} from './campaign/campaign.js';
export { makeCampaigns } from './campaign/make-campaigns.js';
export { makeRenewal } from './make-renewal.js';
export { moveWindow } from './move-window.js';
export { predecessorText } from './renew.js';
export type * from './renewal.js';
export type { NonceVerifier, RenewalDeps } from './renewal-deps.js';
export type { RenewalStore } from './renewal-store.js';
export { makeStormControl, type StormControl } from './storm/storm-control.js';
export type { StormSettings } from './storm/storm-gate.js';
export { urgencyOf } from './storm/urgency.js';
