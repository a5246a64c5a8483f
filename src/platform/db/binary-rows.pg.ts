import type { PoolClient } from './pool.pg.js';

/** Values of one row as the server keeps them; null for NULL. */
export type BinaryRow = readonly (Buffer | null)[];

/**
 * Runs `COPY (select) TO STDOUT (FORMAT binary)` and hands over row by row: pg's own answers are text, in which a megabyte
 * of bytea is two of hexadecimal digits and a string of JavaScript between.
 *
 * @param select  takes no parameters, which COPY does not know
 * @param take  the values lie in the connection's memory: copy what you keep
 * @see PostgreSQL manual, COPY, "Binary Format"; "COPY Operations": one message a row
 */
export function copyBinaryRows(client: PoolClient, select: string, take: (row: BinaryRow) => void): Promise<void> {
  return new Promise((done, fail) => {
    let isFirst = true;
    let fault: unknown;
    const submittable = {
      submit: (connection: { query(text: string): void }): void =>
        connection.query(`COPY (${select}) TO STDOUT (FORMAT binary)`),
      handleCopyOutResponse: (): void => undefined,
      handleCopyData: ({ chunk }: { chunk: Buffer }): void => {
        if (fault !== undefined) return;
        try {
          const row = rowOf(isFirst ? behindHeader(chunk) : chunk);
          isFirst = false;
          if (row !== undefined) take(row);
        } catch (thrown) {
          // The server goes on to its end: the connection is of use afterwards.
          fault = thrown;
        }
      },
      handleCommandComplete: (): void => undefined,
      handleError: (error: Error): void => submittable.callback(error),
      handleReadyForQuery: (): void => submittable.callback(fault ?? null),
      /** pg wraps it in its time-out. */
      callback: (error: unknown): void => {
        if (error === null || error === undefined) done();
        else fail(error instanceof Error ? error : new Error(String(error)));
      },
    };
    client.query(submittable as never);
  });
}

function behindHeader(chunk: Buffer): Buffer {
  if (!chunk.subarray(0, SIGNATURE.length).equals(SIGNATURE))
    throw new Error('the answer of COPY is not in binary form');
  const extensionAt = SIGNATURE.length + 4;
  return chunk.subarray(extensionAt + 4 + chunk.readInt32BE(extensionAt));
}

/** Undefined at the end of the table, and for a header that came alone. */
function rowOf(chunk: Buffer): BinaryRow | undefined {
  if (chunk.length === 0) return undefined;
  const columns = chunk.readInt16BE(0);
  if (columns < 0) return undefined;
  const row: (Buffer | null)[] = [];
  let at = 2;
  for (let column = 0; column < columns; column += 1) {
    const length = chunk.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : chunk.subarray(at, at + length));
    at += Math.max(0, length);
  }
  if (at !== chunk.length) throw new Error('a row of COPY is not as long as its values');
  return row;
}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
