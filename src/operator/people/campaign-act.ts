import { z } from 'zod';
import type {
  CampaignJudge,
  CampaignSelection,
  CampaignTerms,
  JudgedCampaign,
  SignedCampaign,
} from '../../lifecycle/renewal/index.js';
import { FemtoError } from '../../platform/errors.js';
import { type ApprovalDeps, signedAct } from './approvals.js';
import { signersOf, unitSelect } from './fleet-act.js';

export const CAMPAIGN_KIND = 'campaign.rekey';
const DAY_SECONDS = 86_400;

/** As people name what a campaign is about. */
export const campaignSelect = z.discriminatedUnion('by', [
  ...unitSelect.options,
  z.strictObject({ by: z.literal('ca'), ca: z.string().min(1).max(64) }).describe('certificate in use is of this CA'),
  z.strictObject({ by: z.literal('key-algorithm'), algorithm: z.enum(['P-256', 'P-384']) }),
  z.strictObject({ by: z.literal('lineages'), lineageIds: z.array(z.int().positive()).min(1).max(1_000) }),
]);
export type CampaignSelect = z.infer<typeof campaignSelect>;

/** Bounds of a plan: a window below a minute reaches no unit, which asks for advice a few times a day. */
export const wavePlan = z.strictObject({
  size: z.int().min(1).max(20_000),
  waitSeconds: z
    .int()
    .min(0)
    .max(30 * DAY_SECONDS),
  windowSeconds: z
    .int()
    .min(60)
    .max(31 * DAY_SECONDS),
  failuresPercentMax: z.number().min(0).max(100),
});

const signedRequest = z.strictObject({
  select: campaignSelect,
  plan: wavePlan,
  reason: z.string().min(3).max(500),
  secondPerson: z.boolean(),
  list: z.strictObject({ count: z.int().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
});

export interface CampaignJudgeDeps extends ApprovalDeps {
  /** @throws NOT_FOUND; BAD_REQUEST where more than one maker has such a batch */
  readonly resolve: (select: Exclude<CampaignSelect, { by: 'serial-numbers' }>) => Promise<CampaignSelection>;
}

/**
 * Believes a campaign by its signatures alone. One that goes on for days is judged as of the moment at which the ledger says
 * that it was started: what was signed in time does not become untrue.
 */
export function campaignJudge(deps: CampaignJudgeDeps): CampaignJudge {
  return { judge: (campaign, asOf) => judge(deps, campaign, asOf) };
}

async function judge(deps: CampaignJudgeDeps, campaign: SignedCampaign, asOf: Date | null): Promise<JudgedCampaign> {
  const then = asOf === null ? deps : { ...deps, clock: { now: () => asOf } };
  const terms = await termsOf(deps, campaign);
  return { terms, ...(await signersOf(then, campaign, { needsSecond: terms.secondPerson, noun: 'campaign' })) };
}

async function termsOf(deps: CampaignJudgeDeps, campaign: SignedCampaign): Promise<CampaignTerms> {
  const act = signedAct(campaign);
  const request = signedRequest.safeParse(act.request);
  if (act.kind !== CAMPAIGN_KIND || !request.success || request.data.list.count !== act.selectionCount) {
    throw new FemtoError('DENIED', 'This is not carried out. Its text is no campaign; look at femtopki campaign show.');
  }
  const { select, ...rest } = request.data;
  return { ...rest, selection: select.by === 'serial-numbers' ? null : await deps.resolve(select) };
}
