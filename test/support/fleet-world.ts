/** Many units with a certificate each, and the command and the API that people restrict them with. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { wireCore } from '../../src/apps/wire-core.js';
import { runClient } from './command.js';
import { type OperatorShell, operatorShell } from './operator-shell.js';
import { type StatusWorld, startStatusWorld } from './status-world.js';

export interface FleetWorld extends StatusWorld {
  readonly shell: OperatorShell;
  /** Runs `femtopki` with JSON output where it succeeds; standard output and error together. */
  femtopki(...args: string[]): Promise<{ code: number | null; text: string; json: Record<string, unknown> }>;
  /** POSTs JSON with curl, with the credential of a person. */
  curl(person: 'operator' | 'approver', path: string, json: string): Promise<{ code: number | null; text: string }>;
  /** A batch of its own, ACTIVE, one certificate a unit; serial numbers `<name>-000001`… */
  addBatch(name: string, count: number, options?: { state?: string }): Promise<number>;
  /** `<state> <reason>` of the status rows of a batch with how many have it. */
  statuses(batch: string): Promise<Record<string, number>>;
  states(batch: string): Promise<Record<string, number>>;
  ledgerCount(kind: string, batch: string): Promise<number>;
}

export async function startFleetWorld(): Promise<FleetWorld> {
  const world = await startStatusWorld();
  const shell = await operatorShell(wireCore(world.transactor), {
    dbUrl: world.db.url,
    macKey: randomBytes(32),
    // A test that breaks the database looks at what the command says.
    onInternal: () => undefined,
  });
  const counts = async (sql: string, params: unknown[]): Promise<Record<string, number>> => {
    const { rows } = await world.db.pool.query<{ name: string; n: number }>(sql, params);
    return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
  };
  return {
    ...world,
    shell,
    femtopki: async (...args) => {
      const { code, text } = await runClient(join(shell.binDir, 'femtopki'), args);
      const start = text.search(/^[[{]$/m);
      const end = Math.max(text.lastIndexOf('\n}\n'), text.lastIndexOf('\n]\n'));
      const json = start < 0 || end < 0 ? {} : (JSON.parse(text.slice(start, end + 2)) as Record<string, unknown>);
      return { code, text, json };
    },
    curl: (person, path, json) => {
      const token = readFileSync(join(shell.binDir, 'secrets', `cli-${person}.token`), 'utf8');
      const headers = ['-H', `authorization: Bearer ${token}`, '-H', 'content-type: application/json'];
      return runClient('curl', ['-sS', ...headers, '--data-binary', json, `${shell.url}/api/v1${path}`]);
    },
    addBatch: (name, count, { state = 'ACTIVE' } = {}) => addBatch(world, name, count, state),
    statuses: (batch) =>
      counts(
        `SELECT r.state || ' ' || r.reason AS name, count(*)::int AS n FROM revoked_certificate r JOIN unit u ON u.id = r.unit_id
         JOIN batch b ON b.id = u.batch_id WHERE b.name = $1 GROUP BY 1`,
        [batch],
      ),
    states: (batch) =>
      counts(
        `SELECT u.state AS name, count(*)::int AS n FROM unit u JOIN batch b ON b.id = u.batch_id WHERE b.name = $1 GROUP BY 1`,
        [batch],
      ),
    ledgerCount: async (kind, batch) => {
      const { rows } = await world.db.pool.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM ledger_inbox WHERE kind = $1 AND subject LIKE 'unit:' || $2 || '-%'`,
        [kind, batch],
      );
      return rows[0]?.n ?? 0;
    },
    close: async () => {
      await shell.close();
      await world.close();
    },
  };
}

async function addBatch({ db, deviceCa }: StatusWorld, name: string, count: number, state: string): Promise<number> {
  const { rows } = await db.pool.query<{ id: number }>(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, $1, 'FC-' || $1::text, repeat('ab', 32), 'open', sha256($1::text::bytea), 'x', $2, now()) RETURNING id`,
    [name, count],
  );
  const batchId = rows[0]?.id ?? 0;
  await db.pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
     SELECT 1, $1, s, s, s, s, 'FC-' || $2::text, $4, now()
     FROM (SELECT $2 || '-' || lpad(n::text, 6, '0') AS s FROM generate_series(1, $3::int) n) AS names`,
    [batchId, name, count, state],
  );
  await db.pool.query(
    `INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, spki_hash, not_before, attempt_id, issued_at, der)
     SELECT date_trunc('second', now()) + interval '3 days', $1, decode('01' || lpad(to_hex(id), 30, '0'), 'hex'), 'operational', id,
       sha256(('key of ' || id)::bytea), now(), gen_random_uuid(), now(), '\\x00' FROM unit WHERE batch_id = $2`,
    [deviceCa.id, batchId],
  );
  return batchId;
}
