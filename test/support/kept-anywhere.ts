import type { TestDatabase } from './database.js';

/** Tables of which a row holds a text anywhere, as text or as the octets of that text. */
export async function keptAnywhere({ pool }: TestDatabase, needle: string): Promise<string[]> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const { rowCount } = await pool.query(
      `SELECT FROM "${name}" AS t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0 LIMIT 1`,
      [needle, Buffer.from(needle).toString('hex')],
    );
    if (rowCount === 1) found.push(name);
  }
  return found;
}
