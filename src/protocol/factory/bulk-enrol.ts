import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FactoryEnrolment } from '../../lifecycle/factory/index.js';
import { FemtoError } from '../../platform/errors.js';
import { certificatePem } from '../../x509/certificate.js';
import type { Problem } from '../rest/problem.js';

/** Requests of one call; a station with more sends the next call, and the same rows again after a lost answer. */
export const BULK_ROWS_MAX = 1_000;
export const BULK_BYTES_MAX = 8 * 1024 * 1024;
/** Enough for issuance to share its round trips; more would keep units that renew meanwhile from the database. */
const ROWS_AT_ONCE = 24;

export type BulkRow =
  | { readonly ok: true; readonly serialNumber: string; readonly enrolment: FactoryEnrolment }
  | { readonly ok: false; readonly serialNumber: string | undefined; readonly problem: Problem };

/**
 * The rows of an NDJSON body, without the empty ones.
 *
 * @throws FemtoError BAD_REQUEST (413) for more than {@link BULK_ROWS_MAX}
 */
export function bulkLines(body: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < body.length; ) {
    const newline = body.indexOf(0x0a, from);
    const end = newline < 0 ? body.length : newline;
    if (end > from) lines.push(body.subarray(from, end));
    if (lines.length > BULK_ROWS_MAX) {
      throw new FemtoError('BAD_REQUEST', `A call takes at most ${BULK_ROWS_MAX} rows; send the rest in the next.`, {
        facts: { status: 413 },
      });
    }
    from = end + 1;
  }
  if (lines.length === 0) throw new FemtoError('BAD_REQUEST', 'The body has no rows; send one JSON object a line.');
  return lines;
}

/**
 * Answers each row as soon as it is decided, one JSON object a line in no order, then one line of totals: without that
 * line the answer is cut, and the rows that are missing are sent again. A chain is said once, before the first certificate
 * under it. When the caller is gone no further row is begun.
 */
export async function answerRows(
  response: ServerResponse,
  lines: readonly Buffer[],
  decide: (line: Buffer) => Promise<BulkRow>,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  const totals = { rows: 0, issued: 0, repeated: 0, refused: 0 };
  const saidChains = new Set<string>();
  let nextLine = 0;
  const lane = async (): Promise<void> => {
    while (nextLine < lines.length && !response.destroyed) {
      const at = nextLine++;
      const row = await decide(lines[at] as Buffer);
      totals.rows += 1;
      totals[row.ok ? (row.enrolment.repeated ? 'repeated' : 'issued') : 'refused'] += 1;
      if (row.ok) sayChain(response, row.enrolment, saidChains);
      await say(response, { row: at + 1, ...resultOf(row) });
    }
  };
  await Promise.all(Array.from({ length: Math.min(ROWS_AT_ONCE, lines.length) }, lane));
  if (response.destroyed) return;
  response.end(`${JSON.stringify({ done: true, ...totals })}\n`);
}

function resultOf(row: BulkRow): object {
  if (!row.ok) {
    const { status, code, detail, traceId } = row.problem;
    return { serialNumber: row.serialNumber ?? null, status, code, detail, traceId };
  }
  const { serialNumber, enrolment } = row;
  const { certificate, repeated } = enrolment;
  return {
    serialNumber,
    status: repeated ? 200 : 201,
    certificate: certificatePem(certificate.der),
    issuer: issuerOf(enrolment),
    notAfter: certificate.notAfter.toISOString(),
    repeated,
  };
}

/** SHA-256 of the CA's certificate: names the chain. */
function issuerOf({ chain: [ca] }: FactoryEnrolment): string {
  return createHash('sha256')
    .update(ca ?? '')
    .digest('hex');
}

function sayChain(response: ServerResponse, enrolment: FactoryEnrolment, said: Set<string>): void {
  const issuer = issuerOf(enrolment);
  if (said.has(issuer)) return;
  said.add(issuer);
  response.write(`${JSON.stringify({ issuer, chain: enrolment.chain.map(certificatePem).join('') })}\n`);
}

/** Waits for a caller that reads slowly, so that at most one line a lane is ever held for it. */
async function say(response: ServerResponse, line: object): Promise<void> {
  if (response.write(`${JSON.stringify(line)}\n`) || response.destroyed) return;
  await Promise.race([once(response, 'drain'), once(response, 'close')]);
}
