/** Reads a snapshot as a gateway does, from its description alone: node:crypto and jose, nothing of ours. */
import { createHash, X509Certificate } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { compactVerify } from 'jose';

export interface ReadSnapshot {
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
  readonly claims: any;
  /** May this unit come in, by the snapshot alone? */
  admits(unit: { fqdn: string; issuerKeyIdentifier: Buffer; serial: Buffer; address: string }): boolean;
}

const key16 = (...parts: (string | Buffer)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, 16);
};

/** @throws where the signature, the blocks' hashes or the shape do not hold */
export async function readSnapshot(bytes: Buffer, decisionPem: string): Promise<ReadSnapshot> {
  const jwsLength = bytes.readUInt32BE(0);
  const jws = bytes.subarray(4, 4 + jwsLength).toString('latin1');
  const { payload, protectedHeader } = await compactVerify(jws, new X509Certificate(decisionPem).publicKey);
  if (protectedHeader.typ !== 'femtopki-snapshot+jws') throw new Error('another kind of JWS');
  const claims = JSON.parse(Buffer.from(payload).toString());
  let at = 4 + jwsLength;
  const take = ({ count, recordBytes, sha256 }: { count: number; recordBytes: number; sha256: string }): Buffer[] => {
    const block = bytes.subarray(at, at + count * recordBytes);
    at += block.length;
    if (createHash('sha256').update(block).digest('hex') !== sha256) throw new Error('a block is not what was signed');
    return Array.from({ length: count }, (_, n) => block.subarray(n * recordBytes, (n + 1) * recordBytes));
  };
  const units = take(claims.units);
  const prefixes = take(claims.prefixes);
  if (at !== bytes.length) throw new Error('there is more than was signed');
  const lineOf = (address: string): number | null => {
    const octets = isIPv4(address) ? Buffer.from(address.split('.').map(Number)) : null;
    if (octets === null) return null;
    const found = prefixes.find((record) => {
      const bits = record[1] ?? 0;
      const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
      return record[0] === 4 && (octets.readUInt32BE(0) & mask) >>> 0 === (record.readUInt32BE(4) & mask) >>> 0;
    });
    return found !== undefined && found[2] === 1 ? found.readUInt32BE(20) : null;
  };
  return {
    claims,
    admits: ({ fqdn, issuerKeyIdentifier, serial, address }) => {
      const unit = units.find((record) => record.subarray(0, 16).equals(key16(fqdn)));
      if (!unit) return false;
      const shown = key16(issuerKeyIdentifier, serial);
      const isKnown = unit.subarray(20, 36).equals(shown) || unit.subarray(36, 52).equals(shown);
      // A serial says the hour it was drawn in: one that is younger than the snapshot may be the unit's next.
      const drawnMs = serial.readUInt32BE(1) * 3_600_000;
      const isYounger = drawnMs + 3_600_000 > Date.parse(claims.issuedAt) && serial[0] === 1;
      const line = lineOf(address);
      return (isKnown || isYounger) && line !== null && line === unit.readUInt32BE(16);
    },
  };
}
