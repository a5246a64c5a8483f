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
  /** Several callers use it at once and may share a statement (see set-statement): no transaction, or a common one. */
  readonly isCommon?: true;
  /**
   * The same transaction for works that run side by side in it and may share statements. Absent where it is common already.
   * Nothing else may be asked of the transaction until all of them have ended.
   */
  readonly sideBySide?: () => Transaction;
}

/** Statements of one transaction that see the same state of the database, however long they take together. */
export interface Snapshot extends Transaction {
  /**
   * Rows in binary form, for megabytes of bytea.
   *
   * @param select  takes no parameters
   * @param take  called with each row; its values lie in the connection's memory, copy what you keep
   */
  binaryRows(select: string, take: (row: readonly (Buffer | null)[]) => void): Promise<void>;
}

export interface QueryOptions {
  /** The server plans the statement once a connection and keeps the plan under this name: one text, one name. */
  readonly preparedAs?: string;
}

/** Opens transactions. At most 3 tries with jitter on serialization failures and deadlocks; statement timeout 5 s. */
export interface Transactor {
  run<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /**
   * As `run`, in one transaction and one commit with others that wait at the same time. Whatever work throws, nothing that
   * it wrote stays, and its neighbours do not notice: those that went well are run again without it.
   */
  runTogether<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Reads in one snapshot; writes nothing. Each statement has its own timeout. */
  readSnapshot<T>(work: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /** A read outside any transaction. */
  read: Transaction;
}
