/**
 * Rows that the database finds by itself, handed from one room's store to another's, so that a hundred thousand of them
 * never travel to this process and back. Only `*.pg.ts` files make one and look inside.
 */
export interface RowSource {
  /** A query; which columns it gives is said where it is taken. */
  readonly sql: string;
  /** Its `$1`, `$2`, … */
  readonly params: readonly unknown[];
}
