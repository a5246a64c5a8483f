/**
 * A ledger as a directory that an auditor takes away:
 *
 *   manifest.json            version, installation, epochs and sizes, unsequenced count, audit certificates
 *   entries-<epoch>.ndjson   one entry a line: seq, kind, subject, atMicros, body, prevHash and hash in hex
 *   heads-<epoch>.ndjson     one head a line
 *   anchors/                 the anchors as they left the host
 */
import { createReadStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { copyFile, type FileHandle, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { FemtoError } from '../../platform/errors.js';
import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { readAnchorDir } from './anchor-dir.js';
import type { LedgerDescription, LedgerSource, StoredAnchor, StoredHead } from './ledger-source.js';

const hex32 = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.string().regex(/^(?:[0-9a-f]{2})*$/);

const entrySchema = z.strictObject({
  seq: z.int(),
  kind: z.string(),
  subject: z.string(),
  atMicros: z.int(),
  body: z.string(),
  prevHash: bytes,
  hash: bytes,
});

const headSchema = z.strictObject({
  size: z.int(),
  merkleRoot: hex32,
  chainHash: hex32,
  at: z.iso.datetime(),
  headText: z.string(),
  signature: bytes,
  anchoredAt: z.iso.datetime().nullable(),
});

const manifestSchema = z.strictObject({
  version: z.literal(1),
  installation: z.string().nullable(),
  epochs: z.array(z.strictObject({ epoch: z.int().positive(), size: z.int().min(0).nullable() })),
  unsequenced: z.int().min(0),
  oldestUnsequencedAt: z.iso.datetime().nullable(),
  auditCertificates: z.array(z.string()),
  anchors: z.boolean(),
});

/** Bytes collected before a write. */
const CHUNK_CHARACTERS = 1 << 20;

/**
 * Writes a source out, page by page.
 * @param dir  must be absent or empty
 * @param anchorDir  anchors to copy beside it
 */
export async function exportLedger(
  source: LedgerSource,
  dir: string,
  anchorDir?: string,
): Promise<{ entries: number; heads: number; anchors: number }> {
  if (existsSync(join(dir, 'manifest.json'))) {
    throw new FemtoError('STATE_CONFLICT', `${dir} already holds an export; name an empty directory.`);
  }
  mkdirSync(join(dir, 'anchors'), { recursive: true });
  const description = await source.describe();
  const counts = { entries: 0, heads: 0, anchors: 0 };
  for (const epoch of description.epochs) {
    counts.entries += await writeLines(join(dir, `entries-${epoch}.ndjson`), source.entries(epoch), entryLine);
    counts.heads += await writeLines(join(dir, `heads-${epoch}.ndjson`), source.heads(epoch), headLine);
  }
  const anchors = anchorDir === undefined ? [] : readAnchorDir(anchorDir);
  for (const { fileName } of anchors) {
    await copyFile(join(anchorDir ?? '', fileName), join(dir, 'anchors', fileName));
    counts.anchors += 1;
  }
  const manifest: z.infer<typeof manifestSchema> = {
    version: 1,
    installation: description.installation,
    epochs: description.epochs.map((epoch) => ({ epoch, size: description.sizes.get(epoch) ?? null })),
    unsequenced: description.unsequenced,
    oldestUnsequencedAt: description.oldestUnsequencedAt?.toISOString() ?? null,
    auditCertificates: [...description.auditCertificates],
    anchors: anchorDir !== undefined,
  };
  // Last: a directory without it is a broken export, not a short ledger.
  await writeFile(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return counts;
}

/** @throws FemtoError NOT_FOUND when the directory holds no export; BAD_REQUEST when a file of it is not one of ours */
export function exportedSource(dir: string): LedgerSource {
  const path = join(dir, 'manifest.json');
  if (!existsSync(path)) throw new FemtoError('NOT_FOUND', `${dir} holds no ledger export (no manifest.json).`);
  const manifest = parseLine(manifestSchema, readFileSync(path, 'utf8'), 'manifest.json', 1);
  const known = manifest.epochs.map(({ epoch }) => epoch);
  return {
    name: `export ${dir}`,
    describe: async (): Promise<LedgerDescription> => ({
      installation: manifest.installation,
      epochs: [...new Set([...known, ...readAnchorDir(join(dir, 'anchors')).map(({ epoch }) => epoch)])].sort(
        (a, b) => a - b,
      ),
      sizes: new Map(manifest.epochs.flatMap(({ epoch, size }) => (size === null ? [] : [[epoch, size] as const]))),
      unsequenced: manifest.unsequenced,
      oldestUnsequencedAt: manifest.oldestUnsequencedAt === null ? null : new Date(manifest.oldestUnsequencedAt),
      auditCertificates: manifest.auditCertificates,
    }),
    entries: (epoch) => readEntries(dir, epoch),
    heads: (epoch) => readHeads(dir, epoch),
    anchors: (epoch) => (manifest.anchors ? anchorsOf(join(dir, 'anchors'), epoch) : null),
    close: async () => undefined,
  };
}

async function* readEntries(dir: string, epoch: number): AsyncGenerator<NumberedEntry> {
  for await (const entry of readLines(dir, `entries-${epoch}.ndjson`, entrySchema)) {
    yield { ...entry, epoch, prevHash: Buffer.from(entry.prevHash, 'hex'), hash: Buffer.from(entry.hash, 'hex') };
  }
}

async function* readHeads(dir: string, epoch: number): AsyncGenerator<StoredHead> {
  for await (const head of readLines(dir, `heads-${epoch}.ndjson`, headSchema)) {
    yield {
      ...head,
      epoch,
      merkleRoot: Buffer.from(head.merkleRoot, 'hex'),
      chainHash: Buffer.from(head.chainHash, 'hex'),
      signature: Buffer.from(head.signature, 'hex'),
      at: new Date(head.at),
      anchoredAt: head.anchoredAt === null ? null : new Date(head.anchoredAt),
    };
  }
}

async function* anchorsOf(dir: string, epoch: number): AsyncGenerator<StoredAnchor> {
  for (const file of readAnchorDir(dir)) if (file.epoch === epoch) yield file.read();
}

function entryLine(entry: NumberedEntry): string {
  const { seq, kind, subject, atMicros, body, prevHash, hash } = entry;
  const row = { seq, kind, subject, atMicros, body, prevHash: prevHash.toString('hex'), hash: hash.toString('hex') };
  return JSON.stringify(row satisfies z.infer<typeof entrySchema>);
}

function headLine(head: StoredHead): string {
  const row: z.infer<typeof headSchema> = {
    size: head.size,
    merkleRoot: head.merkleRoot.toString('hex'),
    chainHash: head.chainHash.toString('hex'),
    at: head.at.toISOString(),
    headText: head.headText,
    signature: head.signature.toString('hex'),
    anchoredAt: head.anchoredAt?.toISOString() ?? null,
  };
  return JSON.stringify(row);
}

async function writeLines<T>(path: string, rows: AsyncIterable<T>, line: (row: T) => string): Promise<number> {
  const file: FileHandle = await open(path, 'w', 0o640);
  let count = 0;
  try {
    let text = '';
    for await (const row of rows) {
      text += `${oneLine(line(row))}\n`;
      count += 1;
      if (text.length < CHUNK_CHARACTERS) continue;
      await file.writeFile(text);
      text = '';
    }
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  return count;
}

/** JSON leaves these two as they are, and line readers end a line at them. */
function oneLine(json: string): string {
  return json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}

async function* readLines<T>(dir: string, fileName: string, schema: z.ZodType<T>): AsyncGenerator<T> {
  const path = join(dir, fileName);
  if (!existsSync(path)) return;
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
    number += 1;
    if (line !== '') yield parseLine(schema, line, fileName, number);
  }
}

function parseLine<T>(schema: z.ZodType<T>, text: string, fileName: string, line: number): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', `Line ${line} of ${fileName} is not JSON; export the ledger again.`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fault = parsed.error.issues[0];
  throw new FemtoError(
    'BAD_REQUEST',
    `Line ${line} of ${fileName} is not a line of an export (${fault?.path.join('.')}: ${fault?.message}); export the ledger again.`,
  );
}
