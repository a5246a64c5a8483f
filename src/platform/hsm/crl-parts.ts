/**
 * Highest number signed for each delta and shard of a CA, kept by the `ca` class: file `crl-parts-<CA>.json` in the state
 * directory, part → decimal number. What a complete CRL says is remembered apart (crl-memory.ts); no part ever replaces it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { CrlPart } from '../../x509/crl-part.js';
import { writeDurably } from './durable-file.js';

const fileSchema = z.record(z.string().max(20), z.string().regex(/^\d{1,19}$/));

/**
 * Nothing for a CA whose first part is yet to be signed.
 * @throws Error when the file is there but is not one: then nobody knows which numbers were used
 */
export function readPartNumbers(stateDir: string, issuerLabel: string): Map<string, bigint> {
  const path = fileOf(stateDir, issuerLabel);
  if (!existsSync(path)) return new Map();
  const parsed = fileSchema.safeParse(parseJson(readFileSync(path, 'utf8')));
  if (!parsed.success) throw new Error(`${path} is damaged; restore it, or switch deltas and shards of this CA off`);
  return new Map(Object.entries(parsed.data).map(([part, number]) => [part, BigInt(number)]));
}

/** One writer a process, one row after another. */
export function writePartNumber(stateDir: string, issuerLabel: string, part: CrlPart, number: bigint): void {
  const numbers = readPartNumbers(stateDir, issuerLabel).set(part, number);
  const document = Object.fromEntries([...numbers].map(([name, value]) => [name, String(value)]));
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
