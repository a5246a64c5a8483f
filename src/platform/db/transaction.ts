/**
 * A database transaction as lifecycle sees it: an opaque thing that one room hands to another so that both write in one
 * commit. Only `*.pg.ts` files look inside.
 */
export interface Transaction {
  /** Runs one parameterised statement. bigint columns arrive as numbers, bytea as Buffer, timestamptz as Date. */
  query<Row extends object>(
    sql: string,
    params?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<{ rows: Row[]; rowCount: number }>;
}

export interface QueryOptions {
  /** The server plans the statement once a connection and keeps the plan under this name: one text, one name. */
  readonly preparedAs?: string;
}

/** Opens transactions. At most 3 tries with jitter on serialization failures and deadlocks; statement timeout 5 s. */
export interface Transactor {
  run<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** A read outside any transaction. */
  read: Transaction;
}
