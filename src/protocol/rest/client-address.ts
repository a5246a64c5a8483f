import type { IncomingMessage } from 'node:http';
import { canonicalAddress, isInPrefixes } from '../../platform/net/ip-address.js';

/** Hops we follow at most; a longer list is somebody playing, and the nearest proxy's word is taken. */
const HOPS_MAX = 16;
const HEADER_CHARACTERS_MAX = 1_024;

/**
 * Where a request really comes from: the TCP peer, unless the peer is a listed proxy; then the nearest hop that is not
 * one. `Forwarded`, `X-Real-IP` and the like are never read, nor is `X-Forwarded-For` from anybody else: callers write
 * what they please there.
 *
 * @param trustedProxies  prefixes `address/bits` of the operator's own proxies; normally empty
 * @returns canonical address (IPv4-mapped IPv6 as IPv4); empty when the socket is already gone
 */
export function clientAddress(request: IncomingMessage, trustedProxies: readonly string[]): string {
  const peer = canonicalAddress(request.socket.remoteAddress ?? '') ?? '';
  if (trustedProxies.length === 0 || !isInPrefixes(peer, trustedProxies)) return peer;
  const header = request.headers['x-forwarded-for'];
  const list = Array.isArray(header) ? header.join(',') : (header ?? '');
  // Each proxy appends the peer it saw, so only the right end is the work of our own proxies.
  const hops = list.slice(-HEADER_CHARACTERS_MAX).split(',').slice(-HOPS_MAX).reverse();
  let nearest = peer;
  for (const hop of hops) {
    const address = canonicalAddress(hop.trim());
    if (address === null) return nearest;
    nearest = address;
    if (!isInPrefixes(address, trustedProxies)) return nearest;
  }
  return nearest;
}
