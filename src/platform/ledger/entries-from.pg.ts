import { type EntryPattern, patternText } from './entry-pattern.js';

/**
 * SQL that appends one entry for each row of `rows`, in their order: for use in a WITH beside the rows themselves.
 *
 * @param rows     a FROM clause with a column `subject`
 * @param columns  SQL of the text of each slot's column
 * @param params   gets the constant parts appended
 */
export function entriesFrom<Column extends string>(
  rows: string,
  pattern: EntryPattern<Column>,
  columns: Readonly<Record<Column, string>>,
  params: unknown[],
): string {
  const { texts, columns: cut } = patternText(pattern);
  const constant = (text: string): string => `$${params.push(text)}::text`;
  const body = texts.flatMap((text, index) => {
    const column = cut[index];
    return column === undefined ? [constant(text)] : [constant(text), columns[column]];
  });
  const kind = constant(pattern.kind);
  const at = `$${params.push(pattern.at)}::timestamptz`;
  return `INSERT INTO ledger_inbox (kind, subject, at, body) SELECT ${kind}, subject, ${at}, ${body.join(' || ')} FROM ${rows}`;
}
