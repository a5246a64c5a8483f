/** What a TBSCertList says of itself, and whether it is one of the three kinds that a CA of ours signs. */

import { type CrlShard, shardOfUrl } from '../../x509/crl-part.js';
import { oid, sequence, TAG } from '../../x509/der.js';
import { DerReader, integerValue, readDer } from '../../x509/der-reader.js';
import { distributionPointName } from '../../x509/general-name.js';
import { OID } from '../../x509/oids.js';
import { readDistributionPoint } from '../../x509/read-crl.js';
import type { KeyFacts } from './issuer-facts.js';
import { extensionKey, readExtensionMap, timeMs } from './leaf-tbs.js';
import { deny } from './refusal.js';

const CRL_NUMBER = extensionKey(oid(OID.crlNumber));
const AUTHORITY_KEY = extensionKey(oid(OID.authorityKeyIdentifier));
const DELTA = extensionKey(oid(OID.deltaCrlIndicator));
const POINT = extensionKey(oid(OID.issuingDistributionPoint));
const FRESHEST = extensionKey(oid(OID.freshestCrl));
/** Extension → must it be critical (RFC 5280 sections 5.2.1, 5.2.3 to 5.2.6). */
const CRITICAL: ReadonlyMap<string, boolean> = new Map([
  [CRL_NUMBER, false],
  [AUTHORITY_KEY, false],
  [DELTA, true],
  [POINT, true],
  [FRESHEST, false],
]);

export type CrlScope =
  | { readonly kind: 'complete' }
  /** `base`: number of the complete CRL that it builds on. */
  | { readonly kind: 'delta'; readonly base: bigint }
  | { readonly kind: 'shard'; readonly shard: CrlShard };

export interface CrlTbs {
  readonly number: bigint;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Content of revokedCertificates, not looked at. */
  readonly entriesDer: Buffer;
  readonly scope: CrlScope;
}

/**
 * @throws Refusal where it is not this CA's, or of no kind of ours; FemtoError BAD_REQUEST from the DER reader
 */
export function readCrlTbs(tbs: Buffer, issuer: KeyFacts): CrlTbs {
  const fields = readDer(tbs, TAG.SEQUENCE, 'CRL');
  const version = fields.expect(TAG.INTEGER, 'version').content;
  if (version.length !== 1 || version[0] !== 1) deny('The CRL is not version 2.');
  if (!fields.expect(TAG.SEQUENCE, 'signature algorithm').der.equals(issuer.algorithmDer)) {
    deny('The signature algorithm is not that of the CA key.');
  }
  if (!fields.expect(TAG.SEQUENCE, 'issuer').der.equals(issuer.subjectDer)) {
    deny('The issuer name is not that of the CA whose key is asked for.');
  }
  const thisUpdate = fields.next();
  const nextUpdate = fields.next();
  const revoked = fields.optional(TAG.SEQUENCE);
  const extensions = readExtensionMap(fields.expect(0xa0, 'CRL extensions').content);
  fields.end();
  for (const [key, { critical }] of extensions) {
    if (CRITICAL.get(key) !== critical) deny('The CRL has an extension that no CRL of ours has, or in the wrong way.');
  }
  const authority = extensions.get(AUTHORITY_KEY);
  if (!authority) deny('The CRL has no authority key identifier.');
  if (!authority.value.equals(issuer.authorityKeyDer)) deny('The authority key identifier is not that of the CA key.');
  return {
    number: numberOf(extensions.get(CRL_NUMBER)?.value),
    thisUpdateMs: timeMs(thisUpdate.tag, thisUpdate.content),
    nextUpdateMs: timeMs(nextUpdate.tag, nextUpdate.content),
    entriesDer: revoked?.content ?? Buffer.alloc(0),
    scope: scopeOf(extensions, issuer.label),
  };
}

function scopeOf(extensions: ReadonlyMap<string, { value: Buffer }>, label: string): CrlScope {
  const delta = extensions.get(DELTA);
  const point = extensions.get(POINT);
  if (!delta && !point) return { kind: 'complete' };
  if (delta && point) deny('The CRL is a delta and a shard at once; that is no kind of ours.');
  if (extensions.has(FRESHEST)) deny('Only a complete CRL says where the freshest one is.');
  if (delta) return { kind: 'delta', base: numberOf(delta.value) };
  return { kind: 'shard', shard: shardOf(point?.value ?? Buffer.alloc(0), label) };
}

/** A point of one address and nothing else: no kind of certificate, no reasons, nobody else's CRL. */
function shardOf(value: Buffer, label: string): CrlShard {
  const [url] = readDistributionPoint(value).urls;
  const shard = url === undefined ? undefined : shardOfUrl(url, label);
  if (url === undefined || !shard || !value.equals(sequence(distributionPointName(url)))) {
    deny('The issuing distribution point is not the address of a shard of this CA.');
  }
  return shard;
}

function numberOf(value: Buffer | undefined): bigint {
  if (!value) deny('The CRL has no CRL number.');
  const reader = new DerReader(value, 'CRL number');
  const number = integerValue(reader.expect(TAG.INTEGER).content, 'CRL number');
  reader.end();
  // RFC 5280 section 5.2.3 allows 20 octets; ours are a counter, and the memory file has eight.
  if (number < 0n || number >= 1n << 63n) deny('The CRL number is not one of ours.');
  return number;
}
