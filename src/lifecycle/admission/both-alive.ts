/** One session that a probe asks about. */
export interface ProbedSession {
  readonly gatewayId: number;
  readonly gateway: string;
  readonly sessionHex: string;
  readonly address: string;
  /** Did this gateway tell us, when it asked for the permit, that the peer proved the certificate's key? */
  readonly keyProved: boolean;
  /** Null: not answered yet. */
  readonly alive: boolean | null;
}

export type ProbeVerdict =
  | { readonly kind: 'open' }
  | { readonly kind: 'both-alive'; readonly sessions: readonly ProbedSession[] }
  | { readonly kind: 'not-both' };

/**
 * Two sessions that are alive at the same time, in two places, each opened by the key: two holders (rules 5.6). A place is
 * gateway and outer address: one unit that authenticates anew, or comes back behind its router after a reboot, is in the
 * same place, and whoever left a gateway without a word no longer answers there.
 */
export function judgeProbe(sessions: readonly ProbedSession[]): ProbeVerdict {
  const alive = sessions.filter((session) => session.alive === true && session.keyProved);
  if (new Set(alive.map(placeOf)).size >= 2) return { kind: 'both-alive', sessions: alive };
  // Once all but one have said no, the last one cannot change it.
  const couldBeAlive = sessions.filter((session) => session.alive !== false && session.keyProved);
  return new Set(couldBeAlive.map(placeOf)).size >= 2 ? { kind: 'open' } : { kind: 'not-both' };
}

function placeOf({ gatewayId, address }: ProbedSession): string {
  return `${gatewayId} ${address}`;
}
