import { z } from 'zod';
import type { GatewayStanding } from '../../../lifecycle/feed/index.js';
import type { OperatorDeps } from '../operator-deps.js';
import { READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

/** What the gateways have heard and done of what was decided. */
export function gatewayRoutes({ feed }: Pick<OperatorDeps, 'feed'>): Route[] {
  return [
    route({
      method: 'GET',
      path: '/feed',
      summary: 'Which gateways have received and enforced the newest revocation, or the newest about one serial number',
      roles: READERS,
      query: z.strictObject({ serial: shape.serialHex.optional() }),
      handler: ({ query }) => feed.status(query.serial),
    }),
  ];
}

/** Machine rows, with how far each approved gateway has come in the feed. */
export function withStandings(
  machines: readonly Record<string, unknown>[],
  standings: readonly GatewayStanding[],
): Record<string, unknown>[] {
  const byName = new Map(standings.map(({ gateway, ...standing }) => [gateway, standing]));
  return machines.map((machine) => ({ ...machine, ...byName.get(String(machine['name'])) }));
}
