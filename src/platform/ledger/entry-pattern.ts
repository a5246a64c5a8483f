import { canonicalBody } from './canonical-json.js';

/** Where one column's value stands in a pattern's body. */
export class Slot<Column extends string> {
  constructor(
    readonly column: Column,
    /** `text`: between quotes, and the column must hold nothing that JSON escapes (hex, ISO 8601, numbers). */
    readonly kind: 'text' | 'number',
  ) {}
}

/**
 * Entries of one kind whose bodies differ in a few columns only: the database writes them beside the rows they tell of. What
 * the body holds besides is checked once, as every entry's is.
 */
export interface EntryPattern<Column extends string> {
  readonly kind: string;
  readonly at: Date;
  readonly body: Readonly<Record<string, unknown | Slot<Column>>>;
}

export interface PatternText<Column extends string> {
  /** One more than columns: text, column, text, …, text. */
  readonly texts: readonly string[];
  readonly columns: readonly Column[];
}

/**
 * The canonical text of a pattern's body, cut at its slots.
 *
 * @throws FemtoError INTERNAL as canonicalBody
 */
export function patternText<Column extends string>({ body }: EntryPattern<Column>): PatternText<Column> {
  const slots: Slot<Column>[] = [];
  const marked = Object.fromEntries(
    Object.entries(body).map(([name, value]) => {
      if (!(value instanceof Slot)) return [name, value];
      slots.push(value as Slot<Column>);
      return [name, markOf(slots.length - 1)];
    }),
  );
  const text = canonicalBody(marked);
  const cuts = slots
    .map(({ column, kind }, index) => {
      const mark = kind === 'number' ? `"${markOf(index)}"` : markOf(index);
      return { column, at: text.indexOf(mark), length: mark.length };
    })
    .sort((a, b) => a.at - b.at);
  const texts: string[] = [];
  let from = 0;
  for (const { at, length } of cuts) {
    texts.push(text.slice(from, at));
    from = at + length;
  }
  return { texts: [...texts, text.slice(from)], columns: cuts.map(({ column }) => column) };
}

/** A private-use character: no text of ours holds one, and people's are refused with control characters elsewhere. */
function markOf(index: number): string {
  return `\ue0f0slot-${index}\ue0f1`;
}
