import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { FemtoError } from '../../src/platform/errors.js';
import { CmpFault } from '../../src/x509/cmp/index.js';
import { isWrittenBack, readByHand, readBySchema } from '../unit/x509/cmp/both-readings.js';

const ROOT = fileURLToPath(new URL('../../../shared/corpora/openssl/', import.meta.url));
/** Of the 407 seeds and the recorded messages, what both readers take; may only rise. */
const ALIKE_MIN = 118;

describe("OpenSSL's recorded and mutated CMP messages are the same to the schema and to the hand-written readers", () => {
  test('message by message, wherever both read it', () => {
    if (!existsSync(ROOT)) {
      const line = 'SKIP corpora/openssl: ../shared/corpora/openssl not found';
      process.stdout.write(`${line}\n`);
      if (process.env['REQUIRE_CORPORA'] === '1') throw new Error(line);
      return;
    }
    const files = ['fuzz/corpora/cmp', ...recordedFolders()].flatMap((folder) =>
      readdirSync(join(ROOT, folder)).map((file) => join(ROOT, folder, file)),
    );
    let alike = 0;
    for (const file of files) {
      const der = readFileSync(file);
      const byHand = taken(der);
      if (byHand === undefined || !isWrittenBack(der)) continue;
      expect({ file, read: byHand }).toEqual({ file, read: readBySchema(der) });
      alike += 1;
    }
    process.stdout.write(`corpora/openssl: ${files.length} files, ${alike} read alike\n`);
    expect(alike).toBeGreaterThanOrEqual(ALIKE_MIN);
  });
});

function recordedFolders(): string[] {
  const recipes = 'test/recipes';
  const folders = readdirSync(join(ROOT, recipes)).filter((name) => /^65-test_cmp_.*_data$/.test(name));
  return folders.map((name) => join(recipes, name));
}

function taken(der: Buffer): unknown {
  try {
    return readByHand(der);
  } catch (thrown) {
    if (thrown instanceof CmpFault || thrown instanceof FemtoError) return undefined;
    throw thrown;
  }
}
