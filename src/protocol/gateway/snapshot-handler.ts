import { z } from 'zod';
import type { AskingGateway, Snapshot, SnapshotBlock, Snapshots } from '../../lifecycle/admission/index.js';
import { positionText } from '../../lifecycle/feed/index.js';
import { checkShape } from '../rest/body.js';
import type { DecisionSign } from './decision-sign.js';
import { signJws } from './feed-jws.js';

export const SNAPSHOT_TYPE = 'femtopki-snapshot+jws';

const snapshotQuery = z.strictObject({
  /** Chosen by the gateway, 16 to 64 octets in hex; comes back signed. */
  nonce: z.string().regex(/^(?:[0-9a-f]{2}){16,64}$/),
});

/**
 * `GET /v1/snapshot`: u32 length of a compact JWS │ the JWS │ units │ prefixes. The JWS names gateway, nonce, times, position
 * and the SHA-256 of each block; for another gateway it is worth nothing.
 */
export async function answerSnapshot(
  { snapshots, sign }: { readonly snapshots: Snapshots; readonly sign: DecisionSign },
  gateway: AskingGateway,
  query: URLSearchParams,
): Promise<Buffer> {
  const { nonce } = checkShape(Object.fromEntries(query), snapshotQuery);
  // A process that cannot sign says so before anything is read.
  sign(Buffer.alloc(0));
  const snapshot = await snapshots.current();
  const jws = Buffer.from(signJws(sign, SNAPSHOT_TYPE, JSON.stringify(claims(snapshot, gateway, nonce))));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(jws.length);
  return Buffer.concat([length, jws, snapshot.units.bytes, snapshot.prefixes.bytes]);
}

function claims(snapshot: Snapshot, gateway: AskingGateway, nonce: string): object {
  const { position, issuedAt, validUntil, units, prefixes } = snapshot;
  return {
    version: 1,
    gateway: gateway.name,
    nonce,
    position: positionText(position),
    issuedAt: issuedAt.toISOString(),
    validUntil: validUntil.toISOString(),
    units: described(units),
    prefixes: described(prefixes),
  };
}

function described({ count, recordBytes, sha256 }: SnapshotBlock): object {
  return { count, recordBytes, sha256 };
}
