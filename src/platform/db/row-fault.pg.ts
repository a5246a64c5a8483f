import pg from 'pg';

/** Data exceptions, constraint violations and what a trigger raises; everything else is the database's own trouble. */
const ROW_FAULT = /^(22|23|P0)/;

/** Did the contents of a row make the statement fail? */
export function isRowFault(thrown: unknown): boolean {
  return thrown instanceof pg.DatabaseError && ROW_FAULT.test(thrown.code ?? '');
}
