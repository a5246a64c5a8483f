import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import type { ErrorCode } from '../../../../src/platform/errors.js';
import { EST_STATUS } from '../../../../src/protocol/est/est-status.js';
import { PROBLEMS } from '../../../../src/protocol/rest/problem.js';

test('the status table of docs/est.md says of every code what the code says', () => {
  const page = readFileSync(new URL('../../../../docs/est.md', import.meta.url), 'utf8');
  const told: Record<string, [number, string]> = {};
  for (const [, status, word, codes = ''] of page.matchAll(/^\| (\d{3}) \| `([A-Z_]+)` \| (.+) \|$/gm)) {
    for (const [, code = ''] of codes.matchAll(/`([A-Z_]+)`/g)) told[code] = [Number(status), word ?? ''];
  }
  const entries = Object.entries(EST_STATUS) as [ErrorCode, number][];
  expect(told).toEqual(Object.fromEntries(entries.map(([code, status]) => [code, [status, PROBLEMS[code].device]])));
});
