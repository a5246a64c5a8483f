import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../platform/clock.js';
import { canonicalAddress, isInPrefixes, sourcePrefix } from '../../platform/net/ip-address.js';
import { onceAMinute } from '../../platform/once-a-minute.js';

/** Where callers write what they please about their address. */
const HEADERS = ['x-forwarded-for', 'forwarded', 'x-real-ip'] as const;

export interface SpoofedForwarding {
  /** Where it came from, as /24 or /48. */
  readonly prefix: string;
  readonly header: string;
  /** Others of this prefix in the minute before that were not told. */
  readonly before: number;
}

/**
 * Looks at every request for a forwarded address that nobody listed may send: `clientAddress` ignores it, and here it is
 * told, once a minute and source prefix (NET-3). Only that it was there: what it says is the caller's invention.
 */
export function watchForwarding(
  { trustedProxies, clock }: { readonly trustedProxies: readonly string[]; readonly clock: Clock },
  tell: (spoofed: SpoofedForwarding) => void,
): (request: Pick<IncomingMessage, 'headers' | 'socket'>) => void {
  const voice = onceAMinute<{ header: string }>(clock, (prefix, facts) => tell({ prefix, ...facts }));
  return ({ headers, socket }) => {
    const header = HEADERS.find((name) => headers[name] !== undefined);
    if (header === undefined) return;
    const peer = canonicalAddress(socket.remoteAddress ?? '') ?? '';
    if (!isInPrefixes(peer, trustedProxies)) voice(sourcePrefix(peer), { header });
  };
}
