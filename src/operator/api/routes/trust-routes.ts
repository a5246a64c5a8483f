import { z } from 'zod';
import { FemtoError } from '../../../platform/errors.js';
import { approve, requestApproval, textToSign } from '../../people/approvals.js';
import type { Approval } from '../../people/person.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

/** Certificates, approvals, cases, the ledger: who may be trusted, who said so, and what is wrong. */
export function trustRoutes(deps: OperatorDeps): Route[] {
  const { views, approvals, cases, clock, db } = deps;
  return [
    route({
      method: 'GET',
      path: '/certificates/:serial',
      summary: 'A recorded certificate and its status',
      roles: READERS,
      handler: async ({ params }) => {
        const row = await views.certificate(params['serial'] ?? '');
        if (!row) throw new FemtoError('NOT_FOUND', 'No certificate with this serial is in the record.');
        return row;
      },
    }),
    route({
      method: 'GET',
      path: '/approvals',
      summary: 'Requests that need a second person',
      roles: READERS,
      handler: async () => (await approvals.list()).map(shown),
    }),
    route({
      method: 'POST',
      path: '/approvals',
      summary: 'Asks for a second person; signed with the requester’s own key',
      roles: OPERATORS,
      body: z.strictObject({
        kind: z.string().regex(/^[a-z.-]{3,64}$/),
        request: z.record(z.string().max(64), z.unknown()),
        selectionCount: z.int().min(1).max(10_000_000),
        nonce: z
          .string()
          .regex(/^[0-9a-f]{32}$/)
          .optional()
          .describe('own random digits, signed: the same act meant again is another request'),
        until: shape.instant.optional().describe('signed: nothing is carried out later; at most 24 h ahead'),
        signature: shape.signature,
      }),
      handler: async ({ person, body }) => {
        const { signature, nonce, until, ...act } = body;
        const fresh = { ...(nonce === undefined ? {} : { nonce }), ...(until === undefined ? {} : { until }) };
        return shown(await requestApproval(deps, person, { ...act, ...fresh }, Buffer.from(signature, 'base64')));
      },
    }),
    route({
      method: 'POST',
      path: '/approvals/:id/approve',
      summary: 'Approves somebody else’s request; signed with the approver’s own key',
      roles: ['approver'],
      body: z.strictObject({ signature: shape.signature }),
      handler: async ({ person, params, body }) =>
        shown(await approve(deps, person, Number(params['id']), Buffer.from(body.signature, 'base64'))),
    }),
    route({
      method: 'GET',
      path: '/cases',
      summary: 'Cases that people must answer',
      roles: READERS,
      query: z.strictObject({ state: z.enum(['open', 'acknowledged', 'closed']).optional() }),
      handler: ({ query }) => views.cases(query.state),
    }),
    route({
      method: 'POST',
      path: '/cases/:id/acknowledge',
      summary: 'Takes a case over, by name',
      roles: DECIDERS,
      body: z.strictObject({}),
      handler: async ({ params, actor }) => {
        await db.run((tx) => cases.acknowledge(tx, Number(params['id']), actor, clock.now()));
        return { id: Number(params['id']), state: 'acknowledged' };
      },
    }),
    route({
      method: 'GET',
      path: '/ledger',
      summary: 'Newest entries of the ledger, by subject or kind',
      roles: READERS,
      query: z.strictObject({
        subject: z.string().max(200).optional(),
        kind: z.string().max(64).optional(),
        limit: shape.limit,
      }),
      handler: ({ query }) => views.ledger(query),
    }),
  ];
}

/** Bytes as hex, and the texts to sign, so that a client needs no knowledge of ours but its own key. */
function shown(approval: Approval): Record<string, unknown> {
  const { id, kind, requestHash, selectionCount, requestedBy, approvedBy, state, createdAt, expiresAt } = approval;
  return {
    id,
    kind,
    request: approval.request,
    requestHash: requestHash.toString('hex'),
    textToApprove: textToSign(requestHash, 'approver').toString(),
    selectionCount,
    requestedBy,
    approvedBy,
    state,
    createdAt,
    expiresAt,
  };
}
