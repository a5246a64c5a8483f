import type { Transaction } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import { listSha256, UNITS_ALONE_MAX } from '../../revocation/index.js';
import {
  CAMPAIGN_UNITS_MAX,
  type Campaign,
  type CampaignChange,
  type CampaignPreview,
  type CampaignSelection,
  type CampaignState,
  type Campaigns,
  type NewCampaign,
} from './campaign.js';
import type { CampaignDeps } from './campaign-deps.js';
import { campaignEntry, checkPlan, unitIdsOf } from './campaign-rules.js';
import { stepCampaign } from './step-campaign.js';

const DAY_MS = 24 * 3_600_000;
/** Units a statement looks at: well inside its time limit at any size of the fleet. */
const COUNTED_AT_ONCE = 10_000;

/** Binds the use-cases; what a wave does stands in step-campaign. */
export function makeCampaigns(deps: CampaignDeps): Campaigns {
  const { campaigns, transactor } = deps;
  return {
    preview: (selection, personId) => preview(deps, selection, personId),
    place: (campaign) => place(deps, campaign),
    start: (campaignId) => start(deps, campaignId),
    change: (campaignId, change) => changeState(deps, campaignId, change),
    byId: (campaignId) => campaigns.byId(transactor.read, campaignId),
    recent: () => campaigns.recent(transactor.read),
    step: async () => {
      let isMore = false;
      for (const id of await campaigns.open(transactor.read)) isMore = (await stepCampaign(deps, id)) || isMore;
      return isMore;
    },
  };
}

async function preview(deps: CampaignDeps, selection: CampaignSelection, personId: number): Promise<CampaignPreview> {
  const tx = deps.transactor.read;
  const unitIds = await unitIdsOf(deps, tx, selection);
  const serialNumbers = await serialsOf(deps, tx, unitIds);
  let renewable = 0;
  for (let from = 0; from < unitIds.length; from += COUNTED_AT_ONCE) {
    renewable += (await deps.campaigns.heads(tx, unitIds.slice(from, from + COUNTED_AT_ONCE))).length;
  }
  const usedToday = await deps.transactor.run((own) => startedAlone(deps, own, personId, deps.clock.now()));
  const units = serialNumbers.length;
  const needsApproval = usedToday + units > UNITS_ALONE_MAX;
  return { units, listSha256: listSha256(serialNumbers), renewable, usedToday, needsApproval };
}

async function place(deps: CampaignDeps, campaign: NewCampaign): Promise<Campaign> {
  const { campaigns, transactor } = deps;
  const earlier = await campaigns.byHash(transactor.read, campaign.requestHash);
  if (earlier !== null) return earlier;
  const state: CampaignState = campaign.approvalId === null ? 'running' : 'waiting';
  const { terms, actor, personId } = await deps.judge.judge({ ...campaign, state }, null);
  if (terms.secondPerson && campaign.approvalId === null) throw needsSecondPerson(terms.list.count);
  checkPlan(terms);
  const selection = terms.selection ?? { by: 'serial-numbers', serialNumbers: campaign.listed ?? [] };
  const serialNumbers = await serialsOf(deps, transactor.read, await unitIdsOf(deps, transactor.read, selection));
  if (listSha256(serialNumbers) !== terms.list.sha256 || serialNumbers.length !== terms.list.count) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `The selection names ${serialNumbers.length} units by now, and other ones than were signed; look at a new preview.`,
      { facts: { units: serialNumbers.length, signed: terms.list.count } },
    );
  }
  const at = deps.clock.now();
  await transactor.run(async (tx) => {
    if (state === 'running') {
      const used = await startedAlone(deps, tx, personId, at);
      if (used + serialNumbers.length > UNITS_ALONE_MAX) throw needsSecondPerson(used + serialNumbers.length);
    }
    const id = await campaigns.insert(tx, { ...campaign, serialNumbers, waveUnits: terms.plan.size, state, at });
    if (id === null || state === 'waiting') return;
    await deps.ledger.append(tx, [
      startedEntry(id, campaign, { actor, approvedBy: null, units: terms.list.count, at }),
    ]);
  });
  return present(await campaigns.byHash(transactor.read, campaign.requestHash));
}

async function start(deps: CampaignDeps, campaignId: number): Promise<Campaign> {
  const { campaigns, transactor } = deps;
  const campaign = present(await campaigns.byId(transactor.read, campaignId));
  if (campaign.state !== 'waiting') return campaign;
  const { actor, approvedBy, spend } = await deps.judge.judge(campaign, null);
  if (approvedBy === null || spend === undefined) throw needsSecondPerson(campaign.count);
  const at = deps.clock.now();
  await transactor.run(async (tx) => {
    const change = { from: ['waiting' as const], to: 'running' as const, reason: null, at };
    if (!(await campaigns.setState(tx, campaignId, change))) return;
    await spend(tx);
    await deps.ledger.append(tx, [
      startedEntry(campaignId, campaign, { actor, approvedBy, units: campaign.count, at }),
    ]);
  });
  return present(await campaigns.byId(transactor.read, campaignId));
}

const FROM: Readonly<Record<CampaignChange['to'], readonly CampaignState[]>> = {
  paused: ['running'],
  running: ['paused', 'stopped'],
  cancelled: ['waiting', 'running', 'paused', 'stopped'],
};
const KIND = { paused: 'campaign.paused', running: 'campaign.resumed', cancelled: 'campaign.cancelled' } as const;

async function changeState(
  { campaigns, transactor, ledger, clock }: CampaignDeps,
  campaignId: number,
  { to, reason, actor }: CampaignChange,
): Promise<Campaign> {
  const campaign = present(await campaigns.byId(transactor.read, campaignId));
  const at = clock.now();
  await transactor.run(async (tx) => {
    const why = to === 'running' ? null : `${actor}: ${reason}`;
    if (!(await campaigns.setState(tx, campaignId, { from: FROM[to], to, reason: why, at }))) {
      throw new FemtoError('STATE_CONFLICT', `The campaign is ${campaign.state}; that cannot follow.`, {
        facts: { state: campaign.state },
      });
    }
    await ledger.append(tx, [campaignEntry(KIND[to], campaign, { campaignId, reason, actor }, at)]);
  });
  return present(await campaigns.byId(transactor.read, campaignId));
}

async function serialsOf(deps: CampaignDeps, tx: Transaction, unitIds: readonly number[]): Promise<string[]> {
  if (unitIds.length === 0) {
    throw new FemtoError('NOT_FOUND', 'The selection names no unit; look at it with femtopki unit list.');
  }
  if (unitIds.length > CAMPAIGN_UNITS_MAX) {
    throw new FemtoError(
      'BAD_REQUEST',
      `The selection names ${unitIds.length} units, and a campaign takes ${CAMPAIGN_UNITS_MAX}; split it.`,
      { facts: { units: unitIds.length, unitsMax: CAMPAIGN_UNITS_MAX } },
    );
  }
  // By code units, which is how `sort` under LC_ALL=C sorts them.
  return [...(await deps.units.serialNumbers(tx, unitIds)).values()].sort();
}

/** Units in what a person started alone within the last 24 h: a hundred small campaigns are one large one (rules 8.1). */
function startedAlone({ campaigns }: CampaignDeps, tx: Transaction, personId: number, at: Date): Promise<number> {
  return campaigns.lockStartedAlone(tx, personId, new Date(at.getTime() - DAY_MS));
}

function startedEntry(
  campaignId: number,
  { requestHash }: Pick<NewCampaign, 'requestHash'>,
  { at, ...of }: { actor: string; approvedBy: string | null; units: number; at: Date },
) {
  return campaignEntry('campaign.started', { requestHash }, { campaignId, requestSha256: requestHash, ...of }, at);
}

function needsSecondPerson(units: number): FemtoError {
  return new FemtoError(
    'APPROVAL_REQUIRED',
    `One person may re-key ${UNITS_ALONE_MAX} units in 24 h; let a second one approve it: repeat with --ask.`,
    { facts: { units, unitsAloneMax: UNITS_ALONE_MAX } },
  );
}

function present(campaign: Campaign | null): Campaign {
  if (campaign === null) {
    throw new FemtoError('NOT_FOUND', 'No such campaign; list them with femtopki campaign list.');
  }
  return campaign;
}
