import ipaddr from 'ipaddr.js';

/**
 * The one spelling of an address: IPv4 as four decimal parts, IPv6 in RFC 5952 form, IPv4-mapped IPv6 as IPv4 (a prefix
 * table written in IPv4 must not be passed by asking over a dual-stack socket). Null for anything else, also for octal,
 * hexadecimal and short IPv4 forms, zone ids, ports and brackets: two readers disagree about those.
 */
export function canonicalAddress(text: string): string | null {
  if (text.length > ADDRESS_CHARACTERS_MAX) return null;
  if (DOTTED.test(text)) return ipaddr.IPv4.isValidFourPartDecimal(text) ? text : null;
  if (!IPV6_TEXT.test(text) || !ipaddr.IPv6.isValid(text)) return null;
  const address = ipaddr.IPv6.parse(text);
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String();
}

/** True when the text is `address/bits` with no bit set behind the prefix, so that PostgreSQL's cidr takes it too. */
export function isPrefix(text: string): boolean {
  const parsed = prefixOf(text);
  if (parsed === null) return false;
  const [address, bits] = parsed;
  const network = (address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6).networkAddressFromCIDR(text);
  return network.toNormalizedString() === address.toNormalizedString() && bits >= 0;
}

/** @param address canonical; @param prefixes `address/bits` each; a malformed one matches nothing */
export function isInPrefixes(address: string, prefixes: readonly string[]): boolean {
  const canonical = canonicalAddress(address);
  if (canonical === null) return false;
  const parsed = ipaddr.parse(canonical);
  return prefixes.some((text) => {
    const prefix = prefixOf(text);
    return prefix !== null && prefix[0].kind() === parsed.kind() && parsed.match(prefix);
  });
}

/** What junk is counted under: /24 or /48, a customer's usual allocation; `unknown` for no address. */
export function sourcePrefix(address: string): string {
  const canonical = canonicalAddress(address);
  if (canonical === null) return 'unknown';
  return canonical.includes(':')
    ? `${ipaddr.IPv6.networkAddressFromCIDR(`${canonical}/48`).toRFC5952String()}/48`
    : `${ipaddr.IPv4.networkAddressFromCIDR(`${canonical}/24`).toString()}/24`;
}

/** What one subscriber calls from: an IPv4 address, or a whole IPv6 /64. */
export function homeOf(address: string): string {
  const canonical = canonicalAddress(address);
  if (canonical === null || !canonical.includes(':')) return canonical ?? 'unknown';
  return ipaddr.IPv6.networkAddressFromCIDR(`${canonical}/64`).toRFC5952String();
}

const ADDRESS_CHARACTERS_MAX = 45;
const DOTTED = /^[0-9.]+$/;
const IPV6_TEXT = /^[0-9A-Fa-f:.]+$/;

function prefixOf(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | null {
  const slash = text.indexOf('/');
  if (slash < 0 || !/^[0-9]{1,3}$/.test(text.slice(slash + 1))) return null;
  const address = text.slice(0, slash);
  // A mapped address would change family under its prefix length.
  if (canonicalAddress(address) === null || /^::ffff:/i.test(address) || !ipaddr.isValidCIDR(text)) return null;
  return ipaddr.parseCIDR(text);
}
