import { ERROR_CODES } from '../../src/platform/errors.js';
import { PROBLEMS } from '../../src/protocol/rest/problem.js';

/** docs/errors.md as the table of problems gives it. */
export function errorsPage(): string {
  const rows = ERROR_CODES.map((code) => {
    const { status, title, device } = PROBLEMS[code];
    return `| <a id="${code}"></a>\`${code}\` | ${status} | ${title} | \`${device}\` |`;
  });
  return `# Error codes

Every refusal carries one of these codes. It is the same in answers, in the log, in the ledger and in the CLI, and is never
renamed. Devices, and callers whose identity is not proved, see only the last column; the record has the exact code.

| Code | HTTP | Meaning | A device sees |
|---|---|---|---|
${rows.join('\n')}
`;
}
