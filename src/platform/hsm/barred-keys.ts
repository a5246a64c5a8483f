/**
 * Keys of retired CAs: `barred-keys` in the signer's state directory, one label a line, written on the signer's own host
 * (`femtopki ca bar`). It only ever narrows what signer.yaml allows, so the running signer takes it up by itself; no row of
 * the database, and no request, takes a label out of it (rules 2.1).
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from './durable-file.js';

/** What a running signer knows of them. */
export class BarredKeys {
  private stamp = 'unread';
  private isReadable = true;
  private readonly labels = new Set<string>();

  constructor(private readonly stateDir: string) {}

  /** Reads again where the file changed; once a batch. */
  look(): void {
    try {
      const found = statSync(pathOf(this.stateDir), { throwIfNoEntry: false });
      const stamp = found ? `${found.ino}:${found.mtimeMs}:${found.size}` : 'none';
      if (stamp === this.stamp) return;
      // What was barred once stays so while this process runs, whatever becomes of the file.
      for (const label of readBarredKeys(this.stateDir)) this.labels.add(label);
      this.stamp = stamp;
      this.isReadable = true;
    } catch {
      this.isReadable = false;
    }
  }

  /** True for every key where the file cannot be read: then nobody knows. */
  has(label: string): boolean {
    return !this.isReadable || this.labels.has(label);
  }
}

export function readBarredKeys(stateDir: string): string[] {
  const path = pathOf(stateDir);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').split('\n').filter(Boolean);
}

/** Again changes nothing. @returns every barred label */
export function barKey(stateDir: string, label: string): string[] {
  const labels = [...new Set([...readBarredKeys(stateDir), label])].sort();
  writeDurably(pathOf(stateDir), `${labels.join('\n')}\n`);
  return labels;
}

function pathOf(stateDir: string): string {
  return join(stateDir, 'barred-keys');
}
