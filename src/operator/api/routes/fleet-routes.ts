import { z } from 'zod';
import {
  FLEET_UNITS_MAX,
  type FleetAct,
  type FleetOrder,
  UNITS_ALONE_MAX,
} from '../../../lifecycle/revocation/index.js';
import { FemtoError } from '../../../platform/errors.js';
import {
  canonicalRequest,
  type DangerousAct,
  requestApproval,
  requestHash,
  signedAct,
} from '../../people/approvals.js';
import { FLEET_CODES, fleetKind, unitSelect } from '../../people/fleet-act.js';
import type { OperatorDeps } from '../operator-deps.js';
import { type Call, DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import { anySelect, resolveAny } from '../selections.js';
import * as shape from '../shapes.js';
import { listedUnits, signedList } from './signed-list.js';

/** A list of serial numbers as JSON, with room for white space. */
const LIST_BYTES_MAX = FLEET_UNITS_MAX * 40;
const UNKNOWN_SHOWN_MAX = 20;

const listed = listedUnits(FLEET_UNITS_MAX);

const orderBody = z.strictObject({
  select: unitSelect,
  units: listed,
  reason: shape.freeText,
  evidence: shape.freeText.optional(),
  ...signedList(FLEET_UNITS_MAX),
});

/** Acts over many units: looked at first, signed, carried out part by part. */
export function fleetRoutes(deps: OperatorDeps): Route[] {
  const { fleet, fleetRunner } = deps;
  return [
    route({
      method: 'POST',
      path: '/fleet-orders/preview',
      summary:
        'What an act would change: counts by state and CA, gateways, whether a second person is needed; changes nothing',
      roles: DECIDERS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: z.strictObject({ act: z.enum(['revoke', 'hold', 'release']), select: anySelect, units: listed }),
      handler: async ({ body, person, actor }) => {
        const selection = await resolveAny(deps, body.select, checkListed(body));
        const preview = await fleet.preview(body.act, selection, { actor, personId: person.id });
        return {
          act: body.act,
          ...preview,
          unknown: selection.by === 'serial-numbers' ? await unknownOf(deps, selection.serialNumbers) : undefined,
          confirm: preview.units > UNITS_ALONE_MAX ? phrase(body.act, preview.units) : undefined,
        };
      },
    }),
    route({
      method: 'POST',
      path: '/fleet-orders/revoke',
      summary: 'Revokes the certificates of many units for good; signed with one’s own key',
      roles: DECIDERS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: orderBody.extend({ code: z.enum(FLEET_CODES).default('unspecified') }),
      handler: (call) => place(deps, 'revoke', call),
    }),
    route({
      method: 'POST',
      path: '/fleet-orders/hold',
      summary: 'Suspends many units and holds their certificates; signed with one’s own key',
      roles: DECIDERS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: orderBody,
      handler: (call) => place(deps, 'hold', { ...call, body: { ...call.body, code: 'unspecified' } }),
    }),
    route({
      method: 'POST',
      path: '/fleet-orders/release',
      summary: 'Ends the holds of many units; always two people. What is lost or quarantined is released one by one',
      roles: OPERATORS,
      bodyBytesMax: LIST_BYTES_MAX,
      body: orderBody,
      handler: (call) => place(deps, 'release', { ...call, body: { ...call.body, code: 'unspecified' } }),
    }),
    route({
      method: 'POST',
      path: '/fleet-orders/:id/execute',
      summary: 'Starts an order that a second person has approved, or goes on with one that was interrupted',
      roles: DECIDERS,
      body: z.strictObject({}),
      handler: async ({ params }) => {
        const { id } = await fleet.start(Number(params['id']));
        return shown(await fleetRunner.kick(id));
      },
    }),
    route({
      method: 'GET',
      path: '/fleet-orders',
      summary: 'Orders over many units and how far they are, newest first',
      roles: READERS,
      handler: async () => (await fleet.recent()).map(shown),
    }),
    route({
      method: 'GET',
      path: '/fleet-orders/:id',
      summary: 'One order',
      roles: READERS,
      handler: async ({ params }) => shown(present(await fleet.byId(Number(params['id'])))),
    }),
    route({
      method: 'GET',
      path: '/fleet-orders/:id/units',
      summary: 'The list that people sign: serial numbers, sorted; its hash is in the request',
      roles: READERS,
      handler: async ({ params }) => fleet.listOf(present(await fleet.byId(Number(params['id']))).id),
    }),
  ];
}

type OrderCall = Omit<Call, 'body' | 'query'> & {
  body: z.infer<typeof orderBody> & { code: (typeof FLEET_CODES)[number] };
};

async function place(deps: OperatorDeps, act: FleetAct, { body, person }: OrderCall): Promise<unknown> {
  const { fleet, fleetRunner } = deps;
  const { select, code, reason, evidence, secondPerson, count, listSha256: sha256, nonce, until } = body;
  if (count > UNITS_ALONE_MAX && body.confirm !== phrase(act, count)) {
    throw new FemtoError(
      'BAD_REQUEST',
      `This is about ${count} units: type the phrase "${phrase(act, count)}" to confirm it.`,
      {
        facts: { confirm: phrase(act, count) },
      },
    );
  }
  const signed: DangerousAct = {
    kind: fleetKind(act),
    request: {
      select,
      code,
      reason,
      ...(evidence === undefined ? {} : { evidence }),
      secondPerson,
      list: { count, sha256 },
    },
    selectionCount: count,
    nonce,
    until,
  };
  const signature = Buffer.from(body.signature, 'base64');
  const units = checkListed(body);
  const approval = secondPerson ? await requestApproval(deps, person, signed, signature) : null;
  const order = await fleet.place({
    request: canonicalRequest(signed),
    requestHash: requestHash(signed),
    requestedBy: person.id,
    requestSignature: signature,
    approvalId: approval?.id ?? null,
    ...(units === undefined ? {} : { listed: units }),
  });
  return shown(order.state === 'running' ? await fleetRunner.kick(order.id) : order);
}

function checkListed({
  select,
  units,
}: {
  select: { by: string };
  units?: string[] | undefined;
}): string[] | undefined {
  if ((select.by === 'serial-numbers') === (units !== undefined)) return units;
  throw new FemtoError('BAD_REQUEST', 'A list of units belongs to a selection by serial-numbers, and to no other.');
}

async function unknownOf(
  { fleet }: OperatorDeps,
  asked: readonly string[],
): Promise<{ count: number; first: string[] }> {
  const known = new Set(await fleet.list({ by: 'serial-numbers', serialNumbers: asked }));
  const unknown = [...new Set(asked)].filter((serial) => !known.has(serial));
  return { count: unknown.length, first: unknown.slice(0, UNKNOWN_SHOWN_MAX) };
}

function phrase(act: FleetAct, count: number): string {
  return `${act} ${count} units`;
}

function shown(order: FleetOrder): Record<string, unknown> {
  const { id, state, count, progress, approvalId, lastError, createdAt, startedAt, finishedAt } = order;
  const { kind, request } = signedAct(order);
  const { done, units, certificates, blockedKeys, passedOver } = progress;
  const isDone = state === 'done';
  return {
    id,
    act: kind.replace('fleet.', ''),
    state,
    count,
    done,
    units,
    certificates,
    blockedKeys,
    already: isDone ? count - units - passedOver : null,
    passedOver,
    approval: approvalId,
    select: request['select'],
    reason: request['reason'],
    lastError,
    createdAt,
    startedAt,
    finishedAt,
  };
}

function present(order: FleetOrder | null): FleetOrder {
  if (order === null) throw new FemtoError('NOT_FOUND', 'No such order; list them with femtopki fleet list.');
  return order;
}
