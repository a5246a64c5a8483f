import type { QueryConfig } from 'pg';
import { gather } from '../gather.js';
import { copyBinaryRows } from './binary-rows.pg.js';
import type { Pool } from './pool.pg.js';
import { withTransaction } from './pool.pg.js';
import { runTogether } from './run-together.js';
import type { QueryOptions, Transaction, Transactor } from './transaction.js';

/** The lifecycle's view of a pool: each `run` is one transaction, retried on serialization failures and deadlocks. */
export function transactorOf(pool: Pool): Transactor {
  const inTransaction = <T>(work: (tx: Transaction) => Promise<T>, isCommon: boolean): Promise<T> =>
    withTransaction(pool, (client) => {
      const sideBySide = (): Transaction => ({ ...asTransaction(inTurn(client)), isCommon: true });
      return work(isCommon ? sideBySide() : { ...asTransaction(client), sideBySide });
    });
  const together = gather(runTogether((all) => inTransaction(all, true)));
  return {
    run: (work) => inTransaction(work, false),
    runTogether: async <T>(work: (tx: Transaction) => Promise<T>) => {
      const outcome = await together(work);
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value as T;
    },
    readSnapshot: (work) =>
      withTransaction(
        pool,
        async (client) => {
          await client.query('SET TRANSACTION READ ONLY');
          return work({
            ...asTransaction(client),
            binaryRows: (select, take) => copyBinaryRows(client, select, take),
          });
        },
        { isolation: 'repeatable read' },
      ),
    read: { ...asTransaction(pool), isCommon: true },
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

/** A connection takes one statement at a time; whoever shares it waits for his turn. */
function inTurn(client: Queryable): Queryable {
  let last: Promise<unknown> = Promise.resolve();
  const query = (config: QueryConfig) => {
    const result = last.then(() => client.query(config));
    last = result.catch(() => undefined);
    return result;
  };
  return { query: query as Queryable['query'] };
}
