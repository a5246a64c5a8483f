import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const DEMO_CEREMONY = resolve('hsm-config', 'ceremony', 'demo.yaml');

/** A reviewed file for two people with their PIN shares, both written into `directory`. @returns its path */
export function productionFile(directory: string, isWitnessPresent: boolean): string {
  const shares = ['kim', 'lee'].map((name) => {
    const path = join(directory, `${name}.share`);
    writeFileSync(path, `${name}-user-share\n${name}-so-share-0\n`, { mode: 0o600 });
    return path;
  });
  const text = readFileSync(DEMO_CEREMONY, 'utf8')
    .replace('mode: demo', 'mode: production')
    .replace('present: true }', `present: true, pinShareFile: ${shares[0]} }`)
    .replace('present: false }', `present: ${isWitnessPresent}, pinShareFile: ${shares[1]} }`);
  const path = join(directory, 'production.yaml');
  writeFileSync(path, text);
  return path;
}
