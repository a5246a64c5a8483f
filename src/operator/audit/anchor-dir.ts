import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAnchorFileName } from '../../platform/ledger/anchor.js';
import type { StoredAnchor } from './ledger-source.js';

export interface AnchorFile {
  readonly fileName: string;
  readonly epoch: number;
  readonly size: number;
  read(): StoredAnchor;
}

/** The anchors of a directory by epoch and size; other files are left alone. A directory that is absent has none. */
export function readAnchorDir(dir: string): AnchorFile[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .flatMap((fileName) => {
      const place = parseAnchorFileName(fileName);
      if (!place) return [];
      const read = () => ({ fileName, ...place, text: readFileSync(join(dir, fileName), 'utf8') });
      return [{ fileName, ...place, read }];
    })
    .sort((a, b) => a.epoch - b.epoch || a.size - b.size);
}
