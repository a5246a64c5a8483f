import type { Pool } from './pool.pg.js';
import { withTransaction } from './pool.pg.js';
import type { QueryOptions, Transaction, Transactor } from './transaction.js';

/** The lifecycle's view of a pool: each `run` is one transaction, retried on serialization failures and deadlocks. */
export function transactorOf(pool: Pool): Transactor {
  return {
    run: (work) => withTransaction(pool, (client) => work(asTransaction(client))),
    read: asTransaction(pool),
  };
}

type Queryable = Pick<Pool, 'query'>;

function asTransaction(queryable: Queryable): Transaction {
  return {
    query: async <Row extends object>(sql: string, params: readonly unknown[] = [], options: QueryOptions = {}) => {
      const { preparedAs: name } = options;
      const { rows, rowCount } = await queryable.query<Row>({ text: sql, values: [...params], ...(name && { name }) });
      return { rows, rowCount: rowCount ?? 0 };
    },
  };
}
