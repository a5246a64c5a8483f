import { z } from 'zod';
import type { Unit } from '../../../lifecycle/model/index.js';
import type { Requester } from '../../../lifecycle/revocation/index.js';
import type { Transaction } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import { type DangerousAct, spendApproval } from '../../people/approvals.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

const restrictBody = z.strictObject({ reason: shape.freeText, approval: shape.approvalId });

/** What people do with one unit. Restricting needs one person; giving trust back needs two. */
export function unitRoutes(deps: OperatorDeps): Route[] {
  const { views, revocation, registry, enrolment, renewal, clock, db } = deps;
  return [
    route({
      method: 'GET',
      path: '/units',
      summary: 'Units, by serial number',
      roles: READERS,
      query: z.strictObject({
        state: z.string().max(32).optional(),
        batch: z.string().max(64).optional(),
        model: z.string().max(64).optional(),
        region: z.string().max(64).optional(),
        after: z.string().max(32).optional(),
        limit: shape.limit,
      }),
      handler: ({ query }) => views.units(query),
    }),
    route({
      method: 'GET',
      path: '/units/:serialNumber',
      summary: 'One unit: state, bindings, generations, certificates, history, cases',
      roles: READERS,
      handler: async ({ params }) => found(await views.unit(params['serialNumber'] ?? ''), params['serialNumber']),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/grants',
      summary: 'Lets a unit activate on a line: a one-time code (shown once) or an installer order',
      roles: OPERATORS,
      body: z.strictObject({
        kind: z.enum(['code', 'order']).default('code'),
        line: shape.name,
        lifeSeconds: z
          .int()
          .min(3_600)
          .max(30 * 86_400)
          .default(86_400),
        approval: shape.approvalId,
      }),
      handler: async ({ params, body, actor }) => {
        const unit = await unitOf(deps, db.read, params['serialNumber']);
        const line = await registry.lineByName(db.read, body.line);
        if (!line) throw new FemtoError('NOT_FOUND', `No line ${body.line}; add it with femtopki line add.`);
        const act = {
          kind: 'grant.live-head',
          request: { unit: unit.serialNumber, line: line.name },
          selectionCount: 1,
        };
        const grant = await enrolment.createGrant({
          unitId: unit.id,
          kind: body.kind,
          lineId: line.id,
          createdBy: actor,
          approvedBy: approvedIn(deps, act, body.approval) ?? null,
          lifeSeconds: body.lifeSeconds,
        });
        return { ...grant, unit: unit.serialNumber, line: line.name };
      },
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/grants/withdraw',
      summary: 'Ends the unit’s grant, open or locked by wrong codes, so that another can be made',
      roles: OPERATORS,
      handler: async ({ params, actor }) => {
        const unit = await unitOf(deps, db.read, params['serialNumber']);
        const { grantId } = await enrolment.withdrawGrant({ unitId: unit.id, actor });
        return { grantId, unit: unit.serialNumber, state: 'withdrawn' };
      },
    }),
    restriction(deps, {
      name: 'lost',
      summary: 'Reports a unit lost or stolen: denied at once, every certificate held',
      body: restrictBody,
      act: ({ unit, by }) => revocation.reportLost({ unitId: unit.id, ...by }),
    }),
    restriction(deps, {
      name: 'hold',
      summary: 'Suspends a unit and holds its certificates',
      body: restrictBody,
      act: ({ selection, by }) => revocation.hold({ selection, reason: 'certificateHold', ...by }),
    }),
    restriction(deps, {
      name: 'revoke',
      summary: 'Revokes every certificate of a unit for good',
      body: restrictBody.extend({
        code: z
          .enum(['unspecified', 'keyCompromise', 'cessationOfOperation', 'privilegeWithdrawn'])
          .default('unspecified'),
      }),
      act: ({ selection, by, body }) => revocation.revoke({ selection, reason: body.code, ...by }),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/release',
      summary: 'Ends a hold, loss or quarantine; two people. From loss and quarantine only a new activation leads back',
      roles: OPERATORS,
      body: restrictBody.extend({
        replaceBootstrap: z.boolean().optional(),
        evidence: shape.freeText.optional().describe('for a found unit: its inspection record'),
      }),
      handler: async (call) => {
        const unit = await unitOf(deps, db.read, call.params['serialNumber']);
        // Whatever changes what the release gives back is part of what the second person signed.
        const wishes = {
          ...(call.body.replaceBootstrap === undefined ? {} : { replaceBootstrap: call.body.replaceBootstrap }),
          ...(call.body.evidence === undefined ? {} : { evidence: call.body.evidence }),
        };
        const act = {
          kind: 'unit.release',
          request: { unit: unit.serialNumber, state: unit.state, ...wishes },
          selectionCount: 1,
        };
        return await revocation.release({
          unitId: unit.id,
          note: call.body.reason,
          approvedBy: (tx) => spend(deps, tx, act, call.body.approval),
          approvedState: unit.state,
          ...wishes,
          actor: call.actor,
          personId: call.person.id,
        });
      },
    }),
    restriction(deps, {
      name: 'retire',
      summary: 'Retires a unit for ever; its certificates are revoked',
      body: restrictBody,
      act: ({ unit, by }) => revocation.retire({ unitId: unit.id, ...by }),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/profile',
      summary: 'Chooses life and way of renewal from the next certificate on',
      roles: OPERATORS,
      body: z.strictObject({ profile: z.string().regex(/^[a-z0-9-]{3,64}$/) }),
      handler: async ({ params, body, actor }) => {
        const unit = await unitOf(deps, db.read, params['serialNumber']);
        await db.run((tx) =>
          registry.setProfile(tx, { unitId: unit.id, profile: body.profile, actor, at: clock.now() }),
        );
        return { unit: unit.serialNumber, profile: body.profile };
      },
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/window',
      summary: 'Moves the renewal window that the unit is advised; at most to 90 % of the certificate’s life',
      roles: OPERATORS,
      body: z.strictObject({ from: shape.instant, until: shape.instant }),
      handler: async ({ params, body, actor }) => {
        const slot = await headSlotId(deps, params['serialNumber'] ?? '');
        const move = {
          slotId: slot,
          renewFrom: new Date(body.from),
          renewUntil: new Date(body.until),
          actor,
          at: clock.now(),
        };
        await db.run((tx) => renewal.moveWindow(tx, move));
        return { unit: params['serialNumber'], renewFrom: move.renewFrom, renewUntil: move.renewUntil };
      },
    }),
  ];
}

/** An act that only restricts, so that one person may do it. A second one’s approval is of kind `unit.<name>`. */
function restriction<Body extends typeof restrictBody>(
  deps: OperatorDeps,
  {
    name,
    summary,
    body,
    act: carryOut,
  }: {
    name: string;
    summary: string;
    body: Body;
    act: (request: {
      unit: Unit;
      selection: { by: 'unit'; unitId: number };
      by: Requester & { note: string };
      body: z.infer<Body>;
    }) => Promise<unknown>;
  },
): Route {
  return route({
    method: 'POST',
    path: `/units/:serialNumber/${name}`,
    summary,
    roles: DECIDERS,
    body,
    handler: async ({ params, body: sent, actor, person }) => {
      const unit = await unitOf(deps, deps.db.read, params['serialNumber']);
      const act = { kind: `unit.${name}`, request: { unit: unit.serialNumber, state: unit.state }, selectionCount: 1 };
      const approvedBy = approvedIn(deps, act, sent.approval);
      const by = { note: sent.reason, actor, personId: person.id, ...(approvedBy === undefined ? {} : { approvedBy }) };
      return await carryOut({ unit, selection: { by: 'unit', unitId: unit.id }, by, body: sent });
    },
  });
}

/**
 * The second person, asked in the transaction that acts: an act that fails leaves the approval as it was. Beyond a hundred
 * units in a day a person needs one even to restrict (rules 8.1); below, nobody is asked.
 */
function approvedIn(
  deps: OperatorDeps,
  act: DangerousAct,
  approvalId: number | undefined,
): ((tx: Transaction) => Promise<string>) | undefined {
  return approvalId === undefined ? undefined : (tx) => spend(deps, tx, act, approvalId);
}

async function spend(
  deps: OperatorDeps,
  tx: Transaction,
  act: DangerousAct,
  approvalId: number | undefined,
): Promise<string> {
  return `person:${(await spendApproval(deps, tx, act, approvalId)).approvedBy}`;
}

async function unitOf({ registry }: OperatorDeps, tx: Transaction, serialNumber: string | undefined): Promise<Unit> {
  return found(await registry.unitBySerialNumber(tx, serialNumber ?? ''), serialNumber);
}

async function headSlotId({ lineages, registry, db }: OperatorDeps, serialNumber: string): Promise<number> {
  const unit = found(await registry.unitBySerialNumber(db.read, serialNumber), serialNumber);
  const view = await lineages.liveViewOfUnit(db.read, unit.id);
  const head = view?.slots.findLast(({ state }) => state === 'pending' || state === 'confirmed');
  if (!head) throw new FemtoError('STATE_CONFLICT', 'The unit has no operational certificate; activate it first.');
  return head.id;
}

function found<T>(value: T | null, serialNumber: string | undefined): T {
  if (value === null)
    throw new FemtoError('NOT_FOUND', `No unit ${serialNumber ?? ''}; list them with femtopki unit list.`);
  return value;
}
