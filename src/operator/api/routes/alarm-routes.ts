import { z } from 'zod';
import { TRAFFIC_RULES } from '../../../lifecycle/detection/index.js';
import { FemtoError } from '../../../platform/errors.js';
import type { OperatorDeps } from '../operator-deps.js';
import { READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

/** What detection saw: alarms of traffic, and the evidence about a unit. */
export function alarmRoutes({ trafficAlarms, registry, db }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/alarms',
      summary: 'What traffic showed about units and districts, one row a rule, subject and day, newest first',
      roles: READERS,
      query: z.strictObject({
        unit: shape.unitSerial.optional(),
        rule: z.enum(TRAFFIC_RULES).optional(),
        limit: shape.limit,
      }),
      handler: ({ query }) => trafficAlarms.list(db.read, query),
    }),
    route({
      method: 'GET',
      path: '/alarms/:id',
      summary: 'One alarm with what it rests on and the decisions that show it',
      roles: READERS,
      handler: async ({ params }) => {
        const id = alarmId.safeParse(params['id']);
        const alarm = id.success ? await trafficAlarms.show(db.read, id.data) : null;
        if (alarm !== null) return alarm;
        throw new FemtoError('NOT_FOUND', `There is no alarm ${params['id']}; list them with femtopki alarm list.`);
      },
    }),
    route({
      method: 'GET',
      path: '/units/:serialNumber/evidence',
      summary: 'All evidence about a unit, soft included, newest first',
      roles: READERS,
      query: z.strictObject({ limit: shape.limit }),
      handler: async ({ params, query }) => {
        const serialNumber = params['serialNumber'] ?? '';
        if ((await registry.unitBySerialNumber(db.read, serialNumber)) === null) {
          throw new FemtoError('NOT_FOUND', `No unit ${serialNumber}; list them with femtopki unit list.`);
        }
        return trafficAlarms.evidence(db.read, serialNumber, query.limit);
      },
    }),
  ];
}

const alarmId = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
