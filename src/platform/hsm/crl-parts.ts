/**
 * The last of each delta and shard that was signed for a CA, kept by the `ca` class: file `crl-parts-<CA>.json` in the state
 * directory. What a complete CRL says is remembered apart (crl-memory.ts); no part ever replaces it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { CrlPart } from '../../x509/crl-part.js';
import { writeDurably } from './durable-file.js';

export interface SignedPart {
  readonly number: bigint;
  readonly tbsSha256Hex: string;
}

const fileSchema = z.record(
  z.string().max(20),
  z.strictObject({ number: z.string().regex(/^\d{1,19}$/), tbsSha256Hex: z.string().regex(/^[0-9a-f]{64}$/) }),
);

/**
 * Nothing for a CA whose first part is yet to be signed.
 * @throws Error when the file is there but is not one: then nobody knows which numbers were used
 */
export function readSignedParts(stateDir: string, issuerLabel: string): Map<string, SignedPart> {
  const path = fileOf(stateDir, issuerLabel);
  if (!existsSync(path)) return new Map();
  const parsed = fileSchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) throw new Error(`${path} is damaged; restore it, or switch deltas and shards of this CA off`);
  return new Map(
    Object.entries(parsed.data).map(([part, { number, tbsSha256Hex }]) => [
      part,
      { number: BigInt(number), tbsSha256Hex },
    ]),
  );
}

/** One writer a process, one row after another. */
export function writeSignedPart(stateDir: string, issuerLabel: string, part: CrlPart, signed: SignedPart): void {
  const all = readSignedParts(stateDir, issuerLabel).set(part, signed);
  const document = Object.fromEntries(
    [...all].map(([name, { number, tbsSha256Hex }]) => [name, { number: String(number), tbsSha256Hex }]),
  );
  writeDurably(fileOf(stateDir, issuerLabel), `${JSON.stringify(document)}\n`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fileOf(stateDir: string, issuerLabel: string): string {
  return join(stateDir, `crl-parts-${issuerLabel}.json`);
}
