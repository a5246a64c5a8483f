import { gather } from '../gather.js';
import { isRowFault } from './row-fault.pg.js';
import type { Transaction } from './transaction.js';

/** One statement over a set of rows; answers in the order of its inputs. */
export type SetStatement<Input, Output> = (tx: Transaction, inputs: readonly Input[]) => Promise<readonly Output[]>;

/**
 * Asks a set statement for one row. Outside transactions, and in one that several callers share, calls that wait at the same
 * time share the statement; in a transaction of one's own it runs at once.
 */
export function oneOf<Input, Output>(
  statement: SetStatement<Input, Output>,
): (tx: Transaction, input: Input) => Promise<Output> {
  const gathered = new WeakMap<Transaction, (input: Input) => Promise<Output>>();
  return async (tx, input) => {
    if (tx.isCommon !== true) return (await statement(tx, [input]))[0] as Output;
    let ask = gathered.get(tx);
    if (ask === undefined) {
      ask = gather((inputs) => statement(tx, inputs), { isRowFault });
      gathered.set(tx, ask);
    }
    return ask(input);
  };
}
