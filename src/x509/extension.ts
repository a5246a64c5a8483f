import { boolean, octetString, oid, sequence, TAG } from './der.js';
import { badDer, booleanValue, DerReader, oidValue } from './der-reader.js';

/** One Extension with its value still encoded. */
export interface Extension {
  /** Dotted OID. */
  readonly id: string;
  readonly critical: boolean;
  /** Content of extnValue. */
  readonly value: Buffer;
}

const EXTENSIONS_MAX = 32;

/** Whole DER Extension; `critical` FALSE is the default and so left out (RFC 5280 section 4.1). */
export function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  return critical ? sequence(oid(id), boolean(true), octetString(value)) : sequence(oid(id), octetString(value));
}

/**
 * Extensions from a reader that stands before their SEQUENCE.
 *
 * Refuses an empty list (SIZE 1..MAX), a second extension of one kind (RFC 5280 section 4.2), and an explicit
 * `critical FALSE`, which DER forbids because it is the default.
 */
export function readExtensions(outer: DerReader, what: string): Extension[] {
  const list = outer.enter(TAG.SEQUENCE, what);
  if (list.atEnd) list.fail('has an empty list of extensions');
  const extensions: Extension[] = [];
  while (!list.atEnd) {
    const fields = new DerReader(list.expect(TAG.SEQUENCE, what).content, what);
    const id = oidValue(fields.expect(TAG.OID).content, what);
    const critical = fields.optional(TAG.BOOLEAN);
    if (critical !== undefined && !booleanValue(critical.content, what)) fields.fail('spells out critical FALSE');
    const value = fields.expect(TAG.OCTET_STRING).content;
    fields.end();
    if (extensions.some((seen) => seen.id === id)) list.fail(`has extension ${id} twice`);
    extensions.push({ id, critical: critical !== undefined, value });
    if (extensions.length > EXTENSIONS_MAX) list.fail(`has more than ${EXTENSIONS_MAX} extensions`);
  }
  return extensions;
}

/** For places where we know no extension at all: reads the `[n]` content and refuses a critical one. */
export function refuseCriticalExtensions(content: Buffer, what: string): void {
  const inner = new DerReader(content, what);
  const extensions = readExtensions(inner, what);
  inner.end();
  for (const { id, critical } of extensions) {
    if (critical) throw badDer(what, `has the unknown critical extension ${id}`);
  }
}
