import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { AnchorTarget } from './anchor.js';

/** Anchors as files of a directory, each whole or absent: written aside, synced, renamed, directory synced. */
export function fileDropAnchor(dir: string): AnchorTarget {
  return {
    name: `file-drop ${dir}`,
    put: async (fileName, content) => {
      await mkdir(dir, { recursive: true });
      const draft = join(dir, `.${fileName}.new`);
      const file = await open(draft, 'w', 0o644);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, join(dir, fileName));
      const folder = await open(dir, 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    },
  };
}
