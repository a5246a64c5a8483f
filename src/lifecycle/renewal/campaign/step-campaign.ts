import type { Transaction } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import type { Campaign, JudgedCampaign, Wave } from './campaign.js';
import { campaignSubject } from './campaign.js';
import type { CampaignDeps } from './campaign-deps.js';
import { campaignEntry, tooManyFailed, unitIdsOf, windowIn } from './campaign-rules.js';

/** Units told in one transaction: whoever renews one of them meanwhile waits for a fraction of a second. */
const TOLD_A_PART = 1_000;
const SYSTEM = 'system:campaign';

/**
 * One bounded step of one campaign: a wave begins, a part of its units is told, what was told is looked through, a wave ends.
 * Each is a transaction that holds the campaign's row and moves its counters with what they count, so a crash between two
 * continues with the next, and two processes never take the same one.
 *
 * @returns true where the next step can follow at once
 */
export async function stepCampaign(deps: CampaignDeps, campaignId: number): Promise<boolean> {
  const { campaigns, transactor } = deps;
  const campaign = await campaigns.byId(transactor.read, campaignId);
  if (campaign === null) return false;
  try {
    const told = await campaigns.told(transactor.read, campaignSubject(campaign));
    // Whoever can write rows could start one, or set a finished one back: the ledger alone says what was begun and ended.
    if (told.startedAt === null || told.isEnded) {
      throw new FemtoError('DENIED', 'The ledger does not say that this campaign was started and goes on.');
    }
    const judged = await deps.judge.judge(campaign, told.startedAt);
    const isMore = await transactor.run((tx) => stepIn(deps, tx, campaignId, judged));
    if (campaign.lastError !== null) await campaigns.writeError(transactor.read, campaignId, null);
    return isMore;
  } catch (thrown) {
    const sentence = thrown instanceof FemtoError ? `${thrown.code}: ${thrown.message}` : 'INTERNAL: see the log.';
    await campaigns.writeError(transactor.read, campaignId, sentence).catch(() => undefined);
    throw thrown;
  }
}

async function stepIn(deps: CampaignDeps, tx: Transaction, id: number, judged: JudgedCampaign): Promise<boolean> {
  const campaign = await deps.campaigns.lockOpen(tx, id);
  if (campaign === null) return false;
  const wave = campaign.waves.find(({ state }) => state !== 'closed');
  const isRunning = campaign.state === 'running';
  if (wave === undefined) return isRunning ? finish(deps, tx, campaign) : false;
  if (wave.state === 'open') return settle(deps, tx, campaign, wave, judged);
  if (!isRunning) return false;
  return wave.state === 'waiting' ? begin(deps, tx, campaign, wave, judged) : tell(deps, tx, campaign, wave, judged);
}

async function begin(
  { campaigns, clock }: CampaignDeps,
  tx: Transaction,
  { id, waves }: Campaign,
  { wave }: Wave,
  { terms }: JudgedCampaign,
): Promise<boolean> {
  const at = clock.now();
  const before = waves[wave - 1]?.closedAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  if (at.getTime() < before + terms.plan.waitSeconds * 1_000) return false;
  await campaigns.moveWave(tx, id, wave, { state: 'opening', at });
  return true;
}

/** The windows of a part move to now; when nobody is left to be told, the wave's time runs. */
async function tell(
  deps: CampaignDeps,
  tx: Transaction,
  campaign: Campaign,
  { wave, advised, passedOver }: Wave,
  { terms, actor }: JudgedCampaign,
): Promise<boolean> {
  const { campaigns, windows, ledger } = deps;
  const at = deps.clock.now();
  const part = await campaigns.untold(tx, campaign.id, wave, TOLD_A_PART);
  if (part.length === 0) {
    const deadlineAt = new Date(at.getTime() + terms.plan.windowSeconds * 1_000);
    await campaigns.moveWave(tx, campaign.id, wave, { state: 'open', at, deadlineAt });
    const body = { campaignId: campaign.id, wave: wave + 1, advised, passedOver, deadlineAt: deadlineAt.toISOString() };
    await ledger.append(tx, [campaignEntry('campaign.wave-opened', campaign, { ...body, actor }, at)]);
    return true;
  }
  const serialNumbers = part.map(({ serialNumber }) => serialNumber);
  const selection = terms.selection ?? { by: 'serial-numbers', serialNumbers };
  const heads = await campaigns.heads(tx, await unitIdsOf(deps, tx, selection, serialNumbers));
  const moves = heads.flatMap((head) => {
    const window = windowIn(head, at, terms.plan.windowSeconds);
    return window === null ? [] : [{ ...window, slotId: head.slotId, serialNumber: head.serialNumber }];
  });
  const moved = new Set(await windows.moveWindows(tx, moves));
  await ledger.append(
    tx,
    moves
      .filter(({ slotId }) => moved.has(slotId))
      .map(({ slotId, serialNumber, renewFrom, renewUntil }) => ({
        kind: 'renewal.window-moved',
        subject: `unit:${serialNumber}`,
        at,
        body: {
          slotId,
          renewFrom: renewFrom.toISOString(),
          renewUntil: renewUntil.toISOString(),
          actor,
          campaignId: campaign.id,
        },
      })),
  );
  await campaigns.tell(tx, campaign.id, wave, { ns: part.map(({ n }) => n), advised: heads });
  return true;
}

async function settle(
  { campaigns, clock, ledger }: CampaignDeps,
  tx: Transaction,
  campaign: Campaign,
  { wave, deadlineAt }: Wave,
  { terms, actor }: JudgedCampaign,
): Promise<boolean> {
  const at = clock.now();
  if (deadlineAt === null) throw new Error(`wave ${wave} of campaign ${campaign.id} is open and has no deadline`);
  await campaigns.settle(tx, campaign.id, wave, { deadlineAt, isOver: at.getTime() > deadlineAt.getTime() });
  const now = (await campaigns.byId(tx, campaign.id))?.waves[wave];
  if (now === undefined || now.advised > 0) return false;
  await campaigns.moveWave(tx, campaign.id, wave, { state: 'closed', at });
  const { renewed, failed, passedOver } = now;
  const body = { campaignId: campaign.id, wave: wave + 1, renewed, failed, passedOver };
  await ledger.append(tx, [campaignEntry('campaign.wave-closed', campaign, { ...body, actor }, at)]);
  const reason = tooManyFailed(now, terms.plan.failuresPercentMax);
  if (reason === null) return true;
  await campaigns.setState(tx, campaign.id, { from: ['running', 'paused'], to: 'stopped', reason, at });
  await ledger.append(tx, [
    campaignEntry('campaign.stopped', campaign, { campaignId: campaign.id, reason, actor: SYSTEM }, at),
  ]);
  return false;
}

async function finish(
  { campaigns, clock, ledger }: CampaignDeps,
  tx: Transaction,
  campaign: Campaign,
): Promise<boolean> {
  const at = clock.now();
  await campaigns.setState(tx, campaign.id, { from: ['running'], to: 'done', reason: null, at });
  const sum = (of: (wave: Wave) => number): number => campaign.waves.reduce((total, wave) => total + of(wave), 0);
  const body = {
    campaignId: campaign.id,
    renewed: sum(({ renewed }) => renewed),
    failed: sum(({ failed }) => failed),
    passedOver: sum(({ passedOver }) => passedOver),
    actor: SYSTEM,
  };
  await ledger.append(tx, [campaignEntry('campaign.finished', campaign, body, at)]);
  return false;
}
