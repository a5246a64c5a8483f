/**
 * The DER in an OCSP GET path (RFC 6960 appendix A.1): base64, escaped once, not at all, or twice, whatever the client
 * and the proxies on the way did with it. `//` belongs to the base64 and is kept.
 *
 * @param path  what follows `/ocsp/` in the raw request line, without a query
 * @returns undefined when it cannot be one: HTTP 400
 */
export function requestFromPath(path: string): Buffer | undefined {
  if (path.length > PATH_CHARACTERS_MAX) return undefined;
  const plain = path[0] === '/' || path.includes('%') ? undefined : exactBase64(path);
  if (plain !== undefined) return plain;
  const once = percentDecoded(path);
  if (once === undefined) return undefined;
  const text = once.includes('%') ? percentDecoded(once) : once;
  if (text === undefined) return undefined;
  // An AIA that ends in a slash gives one too many; a DER SEQUENCE never starts with one.
  const base64 = text.replace(/^\/+/, '');
  if (!BASE64.test(base64)) return undefined;
  const der = Buffer.from(base64, 'base64');
  return der.length === 0 ? undefined : der;
}

/** Unescaped and padded, as most clients send it: what decodes to just as many octets held nothing but base64. */
function exactBase64(text: string): Buffer | undefined {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const der = Buffer.from(text, 'base64');
  const isExact = text.length % 4 === 0 && der.length === (text.length / 4) * 3 - padding;
  // Node reads the URL-safe alphabet too; we do not.
  return isExact && der.length > 0 && !URL_SAFE.test(text) ? der : undefined;
}

/** decodeURIComponent throws on a bad escape and on bytes that are not UTF-8. */
function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** 4 KiB of DER, every base64 character escaped twice, would be longer; no client escapes more than a few. */
const PATH_CHARACTERS_MAX = 8_192;
const URL_SAFE = /[-_]/;
/** Unpadded too: some clients drop the `=`. */
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
