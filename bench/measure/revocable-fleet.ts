/** Batches of units with one certificate each, and the fleet orders that two people sign over them, on a durable PostgreSQL. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireOperator } from '../../src/apps/wire-operator.js';
import type { FleetOrder } from '../../src/lifecycle/revocation/index.js';
import {
  approve,
  canonicalRequest,
  freshness,
  requestApproval,
  requestHash,
  textToSign,
} from '../../src/operator/people/approvals.js';
import { fleetKind } from '../../src/operator/people/fleet-act.js';
import type { Person } from '../../src/operator/people/person.js';
import { openPrisma } from '../../src/platform/db/client.prisma.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool, type Pool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { treeCpuSeconds } from './process-tree.js';

export interface RevocableFleet {
  readonly pool: Pool;
  readonly url: string;
  /** This process's and PostgreSQL's. */
  cpuSeconds(): number;
  addBatch(name: string, count: number): Promise<void>;
  /** Takes away every unit and what was recorded of it, so that the next round finds tables of the same size. */
  clear(): Promise<void>;
  /** Asked by one person, approved by another; not started. */
  order(batch: string): Promise<FleetOrder>;
  /** Starts it and carries it to its end. */
  carryOut(order: FleetOrder): Promise<FleetOrder>;
  close(): Promise<void>;
}

export async function startRevocableFleet(): Promise<RevocableFleet> {
  const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
  const postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
  await migrate(postgres.url);
  // Filling takes longer than any statement of the product may.
  const pool = openPool(postgres.url, { applicationName: 'bench', statementTimeoutMs: 0 });
  const own = openPool(postgres.url, { applicationName: 'operator-server' });
  const prisma = openPrisma(postgres.url);
  const deps = wireOperator(wireCore(transactorOf(own)), prisma, { macKey: randomBytes(32) });
  await pool.query(
    `INSERT INTO issuer (label, kind, state, key_label, certificate_der, subject_der, key_identifier, spki_hash, not_after)
     VALUES ('device-ca-1', 'device-ca', 'active', 'device-ca-1', '\\x00', '\\x00', '\\x00', '\\x00', now() + interval '1 year')`,
  );
  await pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('acme', '\\x00', '{02}', now())`,
  );
  const person = async (role: 'operator' | 'approver'): Promise<{ person: Person; key: KeyObject }> => {
    const { id } = await deps.people.add({ name: role, role, makerId: null, at: new Date() });
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await deps.people.setFirstKey(id, publicKey.export({ type: 'spki', format: 'der' }));
    const found = await deps.people.byId(id);
    if (found === null) throw new Error('no person');
    return { person: found, key: privateKey };
  };
  const [operator, approver] = [await person('operator'), await person('approver')];
  return {
    pool,
    url: postgres.url,
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6 + treeCpuSeconds(postgres.pid);
    },
    addBatch: async (name, count) => {
      await pool.query(
        `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
         VALUES (1, $1, 'FC-1', 'ff', 'open', $2, 'x', $3, now())`,
        [name, createHash('sha256').update(name).digest(), count],
      );
      await pool.query(
        `WITH unit AS (
           INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
           SELECT 1, (SELECT id FROM batch WHERE name = $1), s, md5(s), s, md5(s) || '.femto.hanbit.example', 'FC-1', 'ACTIVE', now()
           FROM (SELECT $1 || '-' || lpad(n::text, 7, '0') AS s FROM generate_series(1, $2::int) n) AS names RETURNING id)
         INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, spki_hash, not_before, attempt_id, issued_at, der)
         SELECT date_trunc('second', now()) + interval '3 days', 1, decode('01' || left(md5(id::text), 30), 'hex'), 'operational', id,
           sha256(id::text::bytea), now(), gen_random_uuid(), now(), decode(repeat('00', 700), 'hex') FROM unit`,
        [name, count],
      );
      await pool.query('VACUUM ANALYZE');
    },
    clear: async () => {
      await pool.query('TRUNCATE unit, certificate, revoked_certificate, ledger_inbox, crl_dirty CASCADE');
    },
    order: async (batch) => {
      const select = { by: 'batch', batch } as const;
      const selection = {
        by: 'batch',
        batchId: (await deps.selections.batchesNamed(deps.db.read, batch))[0]?.id ?? 0,
      } as const;
      const preview = await deps.fleet.preview('revoke', selection, {
        actor: 'person:operator',
        personId: operator.person.id,
      });
      const list = { count: preview.units, sha256: preview.listSha256 };
      const act = {
        kind: fleetKind('revoke'),
        request: { select, code: 'cessationOfOperation', reason: 'recalled by its maker', secondPerson: true, list },
        selectionCount: list.count,
        ...freshness(new Date()),
      };
      const hash = requestHash(act);
      const requestSignature = sign('sha256', textToSign(hash, 'requester'), operator.key);
      const approval = await requestApproval(deps, operator.person, act, requestSignature);
      const request = {
        request: canonicalRequest(act),
        requestHash: hash,
        requestedBy: operator.person.id,
        requestSignature,
      };
      const order = await deps.fleet.place({ ...request, approvalId: approval.id });
      await approve(deps, approver.person, approval.id, sign('sha256', textToSign(hash, 'approver'), approver.key));
      return order;
    },
    carryOut: async ({ id }) => {
      await deps.fleet.start(id);
      return deps.fleet.carryOut(id);
    },
    close: async () => {
      await prisma.$disconnect();
      await Promise.all([pool.end(), own.end()]);
      await postgres.stop();
      removeHome(home);
    },
  };
}
