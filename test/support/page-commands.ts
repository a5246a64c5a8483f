import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The commands of a page in `docs/`, as one shell script: every `sh` block under a heading of level two, in order.
 *
 * @param page     e.g. `est.md`
 * @param heading  e.g. `With strongSwan`
 */
export function pageCommands(page: string, heading: string): string {
  const text = readFileSync(fileURLToPath(new URL(`../../docs/${page}`, import.meta.url)), 'utf8');
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  const blocks = [...(section ?? '').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, commands]) => commands);
  if (blocks.length === 0) throw new Error(`docs/${page} has no commands under "${heading}"`);
  return blocks.join('\n');
}
