import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { errorsPage } from '../../support/errors-page.js';

test('docs/errors.md is the table of problems; write it anew with bin/source.mjs test/support/write-errors-page.ts', () => {
  expect(readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')).toBe(errorsPage());
});
