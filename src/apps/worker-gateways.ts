import { makeGatewayWatch } from '../jobs/watch-gateways.js';
import type { Logger } from '../platform/log.js';
import type { Core } from './wire-core.js';

export const GATEWAYS_LOOK_MS = 5_000;

/** One look at how far every gateway is; see makeGatewayWatch. */
export function gatewayWatch({ feed }: Core, log: Logger): () => Promise<undefined> {
  const look = makeGatewayWatch({
    feed,
    alarm: (what, facts) => log.error({ alarm: true, ...facts }, what),
    onCaughtUp: (gateway) => log.info({ gateway }, 'a gateway has caught up with revocations'),
  });
  return async () => {
    await look();
    return undefined;
  };
}
