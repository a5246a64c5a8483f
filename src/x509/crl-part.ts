/**
 * Names of the lists that stand beside a CA's complete CRL. A name is a file, an address and a line in the signer's
 * memory; the dot in a file's name keeps it apart from every complete CRL, whose label has none.
 */

/** `delta`, or `shard-<count>-<index>`. */
export type CrlPart = 'delta' | `shard-${number}-${number}`;

export interface CrlShard {
  /** Shards of the CA: a power of two from 2 to {@link SHARDS_MAX}. */
  readonly count: number;
  readonly index: number;
}

export const SHARDS_MAX = 256;

/** Which shard a serial belongs to: by its last octet, drawn at random with the serial, so that shards grow alike. */
export function shardOfSerial(serial: Uint8Array, count: number): number {
  return (serial.at(-1) ?? 0) % count;
}

export function isShardCount(count: number): boolean {
  return Number.isInteger(count) && count >= 2 && count <= SHARDS_MAX && (count & (count - 1)) === 0;
}

export function shardPart({ count, index }: CrlShard): CrlPart {
  return `shard-${count}-${index}`;
}

/** Name of a published list without its `.crl`: the label of a CA for its complete CRL, `<label>.<part>` for a part. */
export const CRL_NAME = /^([a-z0-9][a-z0-9-]{0,62})(?:\.(delta|shard-\d{1,3}-\d{1,3}))?$/;

/**
 * May this list lie under this name? A part under the complete CRL's would hide what is revoked from all who fetch there.
 */
export function belongsUnder(
  name: string,
  list: { readonly deltaBase: bigint | undefined; readonly distributionPoint: { urls: readonly string[] } | undefined },
): boolean {
  const [, label, part] = CRL_NAME.exec(name) ?? [];
  if (label === undefined) return false;
  const url = list.distributionPoint?.urls[0];
  if (part === undefined) return list.deltaBase === undefined && url === undefined && !list.distributionPoint;
  if (part === 'delta') return list.deltaBase !== undefined && !list.distributionPoint;
  const shard = url === undefined ? undefined : shardOfUrl(url, label);
  return list.deltaBase === undefined && shard !== undefined && shardPart(shard) === part;
}

/** File name and last segment of the address: `device-ca-1.delta.crl`, `device-ca-1.shard-16-3.crl`. */
export function crlPartFile(label: string, part: CrlPart): string {
  return `${label}.${part}.crl`;
}

/** The shard that an issuing distribution point names; undefined: no plain HTTP address of a shard of this CA. */
export function shardOfUrl(url: string, label: string): CrlShard | undefined {
  const found = /^http:\/\/[^?#\s]+\/crl\/([a-z0-9-]+)\.shard-([1-9]\d{0,2})-(0|[1-9]\d{0,2})\.crl$/.exec(url);
  const [count, index] = [Number(found?.[2]), Number(found?.[3])];
  return found?.[1] === label && isShardCount(count) && index < count ? { count, index } : undefined;
}
