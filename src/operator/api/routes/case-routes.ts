import { z } from 'zod';
import { FemtoError } from '../../../platform/errors.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

const duty = z.string().regex(/^[a-z-]{3,40}$/, 'as femtopki case show names it');

/** What people do about one case; lists and taking over are in trustRoutes. */
export function caseRoutes({ views, cases, clock, db }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/cases/:id',
      summary: 'One case: since when somebody knew, what is owed until when, and everything that happened',
      roles: READERS,
      handler: async ({ params }) => {
        const found = await views.case(caseId(params), clock.now());
        if (!found) throw new FemtoError('NOT_FOUND', 'There is no such case; list them with femtopki case list.');
        return found;
      },
    }),
    route({
      method: 'POST',
      path: '/cases/:id/facts',
      summary: 'Records a confirmed new fact, which the authority is owed by its own time',
      roles: DECIDERS,
      body: z.strictObject({ fact: shape.freeText }),
      handler: async ({ params, body, actor }) => {
        const id = caseId(params);
        await db.run((tx) => cases.addFact(tx, id, { by: actor, note: body.fact, at: clock.now() }));
        return views.case(id, clock.now());
      },
    }),
    route({
      method: 'POST',
      path: '/cases/:id/reports',
      summary: 'Says that an owed report went out, with the receiver’s receipt',
      roles: DECIDERS,
      body: z.strictObject({ duty, receipt: shape.freeText }),
      handler: async ({ params, body, actor }) => {
        const id = caseId(params);
        const { receipt } = body;
        const act = { by: actor, note: `${body.duty}: ${receipt}`, at: clock.now() };
        await db.run((tx) => cases.report(tx, id, { ...act, duty: body.duty, receipt }));
        return views.case(id, clock.now());
      },
    }),
    route({
      method: 'POST',
      path: '/cases/:id/close',
      summary: 'Closes a case that owes no report',
      roles: DECIDERS,
      body: z.strictObject({ reason: shape.freeText }),
      handler: async ({ params, body, actor }) => {
        const id = caseId(params);
        await db.run((tx) => cases.close(tx, id, { by: actor, note: body.reason, at: clock.now() }));
        return { id, state: 'closed' };
      },
    }),
  ];
}

function caseId({ id = '' }: Readonly<Record<string, string>>): number {
  if (/^[1-9][0-9]{0,14}$/.test(id)) return Number(id);
  throw new FemtoError('NOT_FOUND', 'A case has a number; list them with femtopki case list.');
}
