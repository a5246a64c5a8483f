import { z } from 'zod';
import {
  CAMPAIGN_UNITS_MAX,
  type Campaign,
  type CampaignChange,
  type CampaignSelection,
} from '../../../lifecycle/renewal/index.js';
import { UNITS_ALONE_MAX } from '../../../lifecycle/revocation/index.js';
import { FemtoError } from '../../../platform/errors.js';
import {
  canonicalRequest,
  type DangerousAct,
  requestApproval,
  requestHash,
  signedAct,
} from '../../people/approvals.js';
import { CAMPAIGN_KIND, type CampaignSelect, campaignSelect, wavePlan } from '../../people/campaign-act.js';
import type { OperatorDeps } from '../operator-deps.js';
import { type Call, OPERATORS, READERS, type Route, route } from '../route.js';
import { resolveCampaign } from '../selections.js';
import * as shape from '../shapes.js';
import { listedUnits, signedList } from './signed-list.js';

const LIST_BYTES_MAX = CAMPAIGN_UNITS_MAX * 40;

const listed = listedUnits(CAMPAIGN_UNITS_MAX);

const campaignBody = z.strictObject({
  select: campaignSelect,
  units: listed,
  plan: wavePlan,
  reason: shape.freeText,
  ...signedList(CAMPAIGN_UNITS_MAX),
});

/** Units that are re-keyed in waves: looked at first, signed, stopped when too many fail. */
export function campaignRoutes(deps: OperatorDeps): Route[] {
  const { campaigns } = deps;
  return [
    route({
      method: 'POST',
      path: '/campaigns/preview',
      summary: 'What a campaign would be about: units, how many would renew now, whether a second person is needed',
      roles: OPERATORS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: z.strictObject({ select: campaignSelect, units: listed }),
      handler: async ({ body, person }) => {
        const preview = await campaigns.preview(await selectionOf(deps, body), person.id);
        return { ...preview, confirm: preview.units > UNITS_ALONE_MAX ? phrase(preview.units) : undefined };
      },
    }),
    route({
      method: 'POST',
      path: '/campaigns',
      summary: 'Re-keys units wave by wave: each is advised to renew now; signed with one’s own key',
      roles: OPERATORS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: campaignBody,
      handler: (call) => place(deps, call),
    }),
    route({
      method: 'POST',
      path: '/campaigns/:id/execute',
      summary: 'Starts a campaign that a second person has approved',
      roles: OPERATORS,
      body: z.strictObject({}),
      handler: async ({ params }) => shown(await campaigns.start(Number(params['id']))),
    }),
    ...(['pause', 'resume', 'stop'] as const).map((verb) =>
      route({
        method: 'POST',
        path: `/campaigns/:id/${verb}`,
        summary: CHANGES[verb].summary,
        roles: OPERATORS,
        body: z.strictObject({ reason: shape.freeText }),
        handler: async ({ params, body, actor }) => {
          const change = { to: CHANGES[verb].to, reason: body.reason, actor };
          return shown(await campaigns.change(Number(params['id']), change));
        },
      }),
    ),
    route({
      method: 'GET',
      path: '/campaigns',
      summary: 'Campaigns and how far they are, newest first',
      roles: READERS,
      handler: async () => (await campaigns.recent()).map((campaign) => withoutWaves(shown(campaign))),
    }),
    route({
      method: 'GET',
      path: '/campaigns/:id',
      summary: 'One campaign with its waves',
      roles: READERS,
      handler: async ({ params }) => {
        const campaign = await campaigns.byId(Number(params['id']));
        if (campaign === null) {
          throw new FemtoError('NOT_FOUND', 'No such campaign; list them with femtopki campaign list.');
        }
        return shown(campaign);
      },
    }),
  ];
}

const CHANGES: Readonly<Record<'pause' | 'resume' | 'stop', { to: CampaignChange['to']; summary: string }>> = {
  pause: { to: 'paused', summary: 'Opens no further wave until it is resumed; the open one goes on' },
  resume: { to: 'running', summary: 'Goes on with one that was paused, or that stopped because too many failed' },
  stop: { to: 'cancelled', summary: 'Ends a campaign for good; units that were told renew all the same' },
};

type CampaignCall = Omit<Call, 'body' | 'query'> & { body: z.infer<typeof campaignBody> };

async function place({ campaigns, ...deps }: OperatorDeps, { body, person }: CampaignCall): Promise<unknown> {
  const { select, plan, reason, secondPerson, count, listSha256: sha256, nonce, until } = body;
  if (count > UNITS_ALONE_MAX && body.confirm !== phrase(count)) {
    throw new FemtoError('BAD_REQUEST', `This is about ${count} units: type the phrase "${phrase(count)}".`, {
      facts: { confirm: phrase(count) },
    });
  }
  const signed: DangerousAct = {
    kind: CAMPAIGN_KIND,
    request: { select, plan, reason, secondPerson, list: { count, sha256 } },
    selectionCount: count,
    nonce,
    until,
  };
  const signature = Buffer.from(body.signature, 'base64');
  checkListed(body);
  const approval = secondPerson ? await requestApproval(deps, person, signed, signature) : null;
  const campaign = await campaigns.place({
    request: canonicalRequest(signed),
    requestHash: requestHash(signed),
    requestedBy: person.id,
    requestSignature: signature,
    approvalId: approval?.id ?? null,
    ...(body.units === undefined ? {} : { listed: body.units }),
  });
  return shown(campaign);
}

async function selectionOf(
  deps: OperatorDeps,
  body: { select: CampaignSelect; units?: string[] | undefined },
): Promise<CampaignSelection> {
  checkListed(body);
  if (body.select.by === 'serial-numbers') return { by: 'serial-numbers', serialNumbers: body.units ?? [] };
  return resolveCampaign(deps, body.select);
}

function checkListed({ select, units }: { select: { by: string }; units?: string[] | undefined }): void {
  if ((select.by === 'serial-numbers') === (units !== undefined)) return;
  throw new FemtoError('BAD_REQUEST', 'A list of units belongs to a selection by serial-numbers, and to no other.');
}

function phrase(count: number): string {
  return `re-key ${count} units`;
}

function shown(campaign: Campaign): Record<string, unknown> {
  const { id, state, count, waves, reason, approvalId, lastError, createdAt, startedAt, finishedAt } = campaign;
  const { request } = signedAct(campaign);
  const sum = (of: (wave: (typeof waves)[number]) => number): number =>
    waves.reduce((total, wave) => total + of(wave), 0);
  return {
    id,
    state,
    why: reason,
    units: count,
    wave: `${waves.filter((wave) => wave.state === 'closed').length} of ${waves.length} done`,
    advised: sum(({ advised }) => advised),
    renewed: sum(({ renewed }) => renewed),
    failed: sum(({ failed }) => failed),
    passedOver: sum(({ passedOver }) => passedOver),
    approval: approvalId,
    select: request['select'],
    plan: request['plan'],
    reason: request['reason'],
    lastError,
    createdAt,
    startedAt,
    finishedAt,
    waves: waves.map((one) => ({ ...one, wave: one.wave + 1 })),
  };
}

function withoutWaves({ waves: _waves, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return rest;
}
