import type { Feed, GatewayStanding } from '../lifecycle/feed/index.js';

export interface GatewayWatchDeps {
  readonly feed: Pick<Feed, 'standings'>;
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
  readonly onCaughtUp: (gateway: string) => void;
}

/**
 * Says once when a gateway falls behind with the feed, or behind in another way than before, and once when it is back.
 * What was said is remembered by this process only: whoever takes over says it again.
 */
export function makeGatewayWatch({ feed, alarm, onCaughtUp }: GatewayWatchDeps): () => Promise<void> {
  const said = new Map<string, GatewayStanding['behind']>();
  return async () => {
    const standings = await feed.standings();
    for (const { behind, ...facts } of standings) {
      if (behind === (said.get(facts.gateway) ?? null)) continue;
      if (behind === null) {
        said.delete(facts.gateway);
        onCaughtUp(facts.gateway);
      } else {
        said.set(facts.gateway, behind);
        alarm('a gateway is behind with revocations; femtopki feed status says which', { behind, ...facts });
      }
    }
    // A gateway that was disabled owes nothing any more.
    const names = new Set(standings.map(({ gateway }) => gateway));
    for (const name of said.keys()) if (!names.has(name)) said.delete(name);
  };
}
