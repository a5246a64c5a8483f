/**
 * The signer's journal: what is about to be signed, on disk before the token is asked. A signature without its line is
 * impossible; a line without a signature is harmless, and the ledger explains it. Only the check at each opening, that a
 * key's two halves belong together, is not here: its text says what it is, and its signature never leaves the process.
 *
 * One line an item, fields separated by one space, ended by LF:
 *
 *   v1 <seq> <ISO time> <purpose> <key label> <name> <SHA-256 of the TBS, hex>
 *
 * `seq` counts from 1 for ever, over rotation and restarts: the last one is the class's signature counter. Files:
 * `journal-<class>.log` is being written; `journal-<class>-<first seq, 12 digits>.log` are closed. A last line
 * without its LF was torn by a crash before its fdatasync, so nothing was signed for it; it is cut at start.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignPurpose, SignRequest } from '../signer.js';
import type { KeyClass } from './key-class.js';

const VERSION = 'v1';
/** Enough for the longest line many times over. */
const TAIL_BYTES = 64 * 1024;

export interface JournalItem {
  readonly request: Pick<SignRequest, 'purpose' | 'keyLabel' | 'name'>;
  /** 32 bytes. */
  readonly tbsSha256: Buffer;
}

/** Appends batches. Not for concurrent use: one {@link append} at a time. */
export class Journal {
  private constructor(
    private file: FileHandle,
    private bytes: number,
    private nextSeq: number,
    private firstSeqOfFile: number,
    private readonly place: { dir: string; keyClass: KeyClass; rotateBytes: number },
  ) {}

  static async open(dir: string, keyClass: KeyClass, rotateBytes: number): Promise<Journal> {
    const path = join(dir, currentName(keyClass));
    if (existsSync(path)) cutTornTail(path);
    const entries = tailSeqs(dir, keyClass);
    const file = await open(path, 'a', 0o640);
    fsyncDir(dir);
    return new Journal(file, (await file.stat()).size, entries.last + 1, entries.firstOfCurrent ?? entries.last + 1, {
      dir,
      keyClass,
      rotateBytes,
    });
  }

  /** Signatures asked of the token so far, ever. */
  get counter(): number {
    return this.nextSeq - 1;
  }

  /**
   * Writes one line an item and makes them durable.
   * @throws the file system's error; the caller must end its process, because after a failed sync the kernel may have
   *   dropped the pages and a second sync on the same handle would lie
   */
  async append(items: readonly JournalItem[], now: Date): Promise<void> {
    if (items.length === 0) return;
    const at = now.toISOString();
    let text = '';
    let seq = this.nextSeq;
    for (const item of items) {
      const { request, tbsSha256 } = item;
      text += `${VERSION} ${seq} ${at} ${request.purpose} ${request.keyLabel} ${request.name} ${tbsSha256.toString('hex')}\n`;
      seq += 1;
    }
    const bytes = Buffer.from(text, 'latin1');
    // A short write must not pass for a whole one: writeFile on a handle writes all of it or throws.
    await this.file.writeFile(bytes);
    await this.file.datasync();
    this.nextSeq = seq;
    this.bytes += bytes.length;
    if (this.bytes >= this.place.rotateBytes) await this.rotate();
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private async rotate(): Promise<void> {
    const { dir, keyClass } = this.place;
    await this.file.sync();
    await this.file.close();
    renameSync(join(dir, currentName(keyClass)), join(dir, closedName(keyClass, this.firstSeqOfFile)));
    this.file = await open(join(dir, currentName(keyClass)), 'a', 0o640);
    fsyncDir(dir);
    this.bytes = 0;
    this.firstSeqOfFile = this.nextSeq;
  }
}

export interface JournalEntry {
  readonly seq: number;
  readonly at: string;
  readonly purpose: SignPurpose;
  readonly keyLabel: string;
  readonly name: string;
  readonly tbsSha256Hex: string;
}

/** Every entry of a class, oldest first. Safe beside a running signer: a torn last line is left out. */
export function* readJournal(dir: string, keyClass: KeyClass): Generator<JournalEntry> {
  for (const name of journalFiles(dir, keyClass)) {
    const text = readFileSync(join(dir, name), 'latin1');
    const lines = text.split('\n');
    lines.pop();
    for (const line of lines) yield parseLine(line, name);
  }
}

function parseLine(line: string, file: string): JournalEntry {
  const [version, seq, at, purpose, keyLabel, name, hash, extra] = line.split(' ');
  if (version !== VERSION || !seq || !at || !purpose || !keyLabel || !name || !hash || extra !== undefined) {
    throw new Error(`${file} holds a line that no signer wrote: ${line.slice(0, 120)}`);
  }
  return { seq: Number(seq), at, purpose: purpose as SignPurpose, keyLabel, name, tbsSha256Hex: hash };
}

/** Closed files in order, then the current one. */
export function journalFiles(dir: string, keyClass: KeyClass): string[] {
  const pattern = new RegExp(`^journal-${keyClass}-\\d{12}\\.log$`);
  const closed = readdirSync(dir)
    .filter((name) => pattern.test(name))
    .sort();
  return existsSync(join(dir, currentName(keyClass))) ? [...closed, currentName(keyClass)] : closed;
}

function currentName(keyClass: KeyClass): string {
  return `journal-${keyClass}.log`;
}

function closedName(keyClass: KeyClass, firstSeq: number): string {
  return `journal-${keyClass}-${String(firstSeq).padStart(12, '0')}.log`;
}

function tailSeqs(dir: string, keyClass: KeyClass): { last: number; firstOfCurrent: number | undefined } {
  const files = journalFiles(dir, keyClass);
  const current = currentName(keyClass);
  for (const name of [...files].reverse()) {
    const last = seqOf(lastLine(join(dir, name)));
    if (last === undefined) continue;
    const first = name === current ? seqOf(readHead(join(dir, name))) : undefined;
    return { last, firstOfCurrent: first };
  }
  return { last: 0, firstOfCurrent: undefined };
}

function seqOf(line: string | undefined): number | undefined {
  return line ? Number(line.split(' ')[1]) : undefined;
}

function readHead(path: string): string | undefined {
  return readSlice(path, 0)?.split('\n')[0];
}

function lastLine(path: string): string | undefined {
  const text = readSlice(path, 'tail');
  return text?.trimEnd().split('\n').at(-1);
}

function readSlice(path: string, from: 0 | 'tail'): string | undefined {
  const descriptor = openSync(path, 'r');
  try {
    const size = fstatSync(descriptor).size;
    if (size === 0) return undefined;
    const start = from === 'tail' ? Math.max(0, size - TAIL_BYTES) : 0;
    const buffer = Buffer.alloc(Math.min(TAIL_BYTES, size));
    const read = readSync(descriptor, buffer, 0, buffer.length, start);
    return buffer.toString('latin1', 0, read);
  } finally {
    closeSync(descriptor);
  }
}

function cutTornTail(path: string): void {
  const descriptor = openSync(path, 'r+');
  try {
    const size = fstatSync(descriptor).size;
    const start = Math.max(0, size - 64 * TAIL_BYTES);
    const buffer = Buffer.alloc(size - start);
    readSync(descriptor, buffer, 0, buffer.length, start);
    const whole = buffer.lastIndexOf(0x0a) + 1;
    if (whole === buffer.length) return;
    ftruncateSync(descriptor, start + whole);
    fdatasyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function fsyncDir(dir: string): void {
  const descriptor = openSync(dir, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
