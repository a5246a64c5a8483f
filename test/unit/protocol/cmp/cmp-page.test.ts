import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import type { ErrorCode } from '../../../../src/platform/errors.js';
import { FAIL_ROWS } from '../../../../src/protocol/cmp/fail-info-table.js';
import { PROBLEMS } from '../../../../src/protocol/rest/problem.js';

test('the table of docs/cmp.md says of every code what CMP says', () => {
  const page = readFileSync(new URL('../../../../docs/cmp.md', import.meta.url), 'utf8');
  const told: Record<string, [string, string]> = {};
  for (const [, failInfo = '', word = '', codes = ''] of page.matchAll(/^\| `(\w+)` \| `([A-Z_]+)` \| (.+) \|$/gm)) {
    for (const [, code = ''] of codes.matchAll(/`([A-Z_]+)`/g)) told[code] = [failInfo, word];
  }
  const entries = Object.entries(FAIL_ROWS) as [ErrorCode, { failInfo: string }][];
  expect(told).toEqual(
    Object.fromEntries(entries.map(([code, { failInfo }]) => [code, [failInfo, PROBLEMS[code].device]])),
  );
});
