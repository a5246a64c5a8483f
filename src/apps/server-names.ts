import { isIP } from 'node:net';
import { hostname } from 'node:os';

/** The name a client connects to, for the server's certificate; loopback addresses are called localhost. */
export function dnsNameOf(baseUrl: string): string {
  const host = new URL(baseUrl).hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? host.toLowerCase() : 'localhost';
}

/** Names of the machine rows of our own processes; one a host, because each process has a key of its own. */
export function processKeyName(kind: 'decision' | 'time'): string {
  return `${kind}-${hostname()
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 32)}`;
}
