/** What a unit's life is looked at with: a gateway that asks, the record, what the worker makes of it, and the books. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { wireAdmission } from '../../src/apps/wire-admission.js';
import { ledgerConsumers } from '../../src/apps/worker-consumers.js';
import { consumeLedger } from '../../src/jobs/consume-ledger.js';
import { type Decision, makeAuthorise } from '../../src/lifecycle/admission/index.js';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import { crlStore } from '../../src/lifecycle/status/crl-store.pg.js';
import { makeCrlPublisher } from '../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../src/lifecycle/status/status-changes.pg.js';
import { checkLedger } from '../../src/operator/audit/check-ledger.pg.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import { beatHeart } from '../../src/platform/db/heartbeat.pg.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { anchorPending } from '../../src/platform/ledger/anchors.pg.js';
import { cursors } from '../../src/platform/ledger/cursors.pg.js';
import { fileDropAnchor } from '../../src/platform/ledger/file-drop-anchor.js';
import { makeAuditHeads } from '../../src/platform/ledger/heads.pg.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';
import { createLogger } from '../../src/platform/log.js';
import { NO_GEO } from '../../src/platform/net/geo-databases.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import type { CurlCredential } from './curl-unit.js';
import type { DeviceWorld, WorldUnit } from './device-world.js';

type Named = Pick<WorldUnit, 'id' | 'serialNumber'>;

export interface Life {
  /** A gateway that verified the certificate's key, or not, asks whether the unit may connect. */
  ask(op: CurlCredential, options?: { keyProved?: boolean; address?: string }): Promise<Decision>;
  /** As a unit's first use; throws where it is not permitted. */
  useAtGateway(op: CurlCredential): Promise<void>;
  stateOf(unit: Named): Promise<string>;
  /** `<generation> <state>`, in order of issue; lineages one after another. */
  generations(unit: Named): Promise<string[]>;
  serialOf(op: CurlCredential): string;
  /** Serial of the newest certificate that stands. */
  headOf(unit: Named): Promise<string>;
  /** Puts the unit's last soft displacement more than an hour back. */
  hourLater(unit: Named): Promise<void>;
  /** Kinds of all entries about a unit, numbered or not. */
  kinds(unit: Named): Promise<string[]>;
  /** Bodies of the entries of a kind. */
  entries(unit: Named, kind: string): Promise<Record<string, unknown>[]>;
  refusals(unit: Named): Promise<unknown[]>;
  /** Grades of the forks on record. */
  forks(unit: Named): Promise<unknown[]>;
  /** What the rotation worker's loops do: number the ledger, and let detection read it. */
  work(): Promise<void>;
  /** Kinds of open cases about a unit, once {@link work} was done. */
  cases(unit: Named): Promise<string[]>;
  /** Closes the day and checks the whole record (`femtopki check-ledger`); the violations, in words. */
  audit(): Promise<string[]>;
}

/** Addresses of documentation, and of no line unless a test says so. */
const HOME = '192.0.2.7';
const GATEWAY = 'segw-1';

export async function openLife(world: DeviceWorld): Promise<Life> {
  const { db, core } = world;
  const { rows: machines } = await db.pool.query<{ id: number }>(
    `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at)
     VALUES ('gateway', $1, 'approved', '\\x00', '\\x00', 'test', now()) RETURNING id`,
    [GATEWAY],
  );
  const gateway = { machineId: machines[0]?.id ?? 0, name: GATEWAY };
  const onTrouble = (error: unknown): never => {
    throw error;
  };
  const authorise = makeAuthorise(wireAdmission(core, { geo: NO_GEO, alarm: () => undefined, onTrouble }));
  const certificateOf = ({ pemFile }: CurlCredential) => {
    const [block] = pemBlocks(readFileSync(pemFile, 'utf8'));
    if (block === undefined) throw new Error(`no certificate in ${pemFile}`);
    return readCertificate(block.der);
  };
  const ask: Life['ask'] = async (op, { keyProved = true, address = HOME } = {}) => {
    const { der, sanDns } = certificateOf(op);
    await core.transactor.run(beatHeart);
    return authorise(gateway, {
      stage: 'ike',
      certificateDer: der,
      identity: sanDns[0] ?? '',
      address,
      keyProved,
      nonce: randomBytes(16).toString('hex'),
    });
  };
  const column = async <T>(sql: string, params: readonly unknown[]): Promise<T[]> =>
    (await db.pool.query<{ value: T }>(sql, [...params])).rows.map(({ value }) => value);
  const entries: Life['entries'] = async (unit, kind) =>
    (
      await column<string>(
        `SELECT body AS value FROM (${RECORD}) AS record WHERE subject = $1 AND kind = $2 ORDER BY part, place`,
        [`unit:${unit.serialNumber}`, kind],
      )
    ).map((body) => JSON.parse(body) as Record<string, unknown>);
  const work = async (): Promise<void> => {
    await withLease(world, async (lease, leases) => {
      const sequencer = makeSequencer({ transactor: core.transactor, leases });
      while ((await sequencer.sequenceOnce(lease)).taken > 0);
    });
    for (const consumer of ledgerConsumers(core, createLogger({ name: 'test', level: 'silent' }))) {
      while (await consumeLedger({ transactor: core.transactor, cursors }, consumer));
    }
  };
  return {
    ask,
    useAtGateway: async (op) => {
      const { verdict, reasons } = await ask(op);
      if (verdict !== 'permit') throw new Error(`denied at the gateway: ${reasons.join(', ')}`);
    },
    stateOf: async ({ id }) => (await column<string>('SELECT state AS value FROM unit WHERE id = $1', [id]))[0] ?? '',
    generations: ({ id }) =>
      column<string>(
        `SELECT generation || ' ' || state AS value FROM lineage_slot WHERE unit_id = $1 ORDER BY lineage_id, id`,
        [id],
      ),
    headOf: async ({ id }) =>
      (
        await column<string>(
          `SELECT encode(serial, 'hex') AS value FROM lineage_slot
           WHERE unit_id = $1 AND state IN ('pending', 'confirmed') ORDER BY lineage_id DESC, generation DESC LIMIT 1`,
          [id],
        )
      )[0] ?? '',
    hourLater: async ({ id }) => {
      await db.pool.query(`UPDATE lineage SET last_soft_at = last_soft_at - interval '61 minutes' WHERE unit_id = $1`, [
        id,
      ]);
    },
    serialOf: (op) => certificateOf(op).serial.toString('hex'),
    kinds: ({ serialNumber }) =>
      column<string>(`SELECT kind AS value FROM (${RECORD}) AS record WHERE subject = $1 ORDER BY part, place`, [
        `unit:${serialNumber}`,
      ]),
    entries,
    refusals: async (unit) => (await entries(unit, 'request.refused')).map(({ code }) => code),
    forks: async (unit) => (await entries(unit, 'lineage.forked')).map(({ grade }) => grade),
    work,
    cases: ({ id }) =>
      column<string>(`SELECT kind AS value FROM incident_case WHERE unit_id = $1 AND state <> 'closed' ORDER BY kind`, [
        id,
      ]),
    audit: async () => {
      // What a killed server left behind is the reconciler's; here nothing may be.
      await reconcile({ ...core, store: issuanceStore }, { signingLimitMs: 0 });
      await work();
      return closeBooks(world);
    },
  };
}

const RECORD = `SELECT 1 AS part, seq AS place, kind, subject, body FROM ledger
  UNION ALL SELECT 2, id, kind, subject, body FROM ledger_inbox`;

async function withLease(
  { core }: DeviceWorld,
  work: (
    lease: NonNullable<Awaited<ReturnType<ReturnType<typeof makeLeases>['acquire']>>>,
    leases: ReturnType<typeof makeLeases>,
  ) => Promise<void>,
): Promise<void> {
  const leases = makeLeases(core.transactor);
  const lease = await leases.acquire('test', 'test', 60_000);
  if (lease === null) throw new Error('the lease is held by another');
  await work(lease, leases);
}

/** CRLs, a signed head and its anchor, as the worker makes them; then every invariant. */
async function closeBooks(world: DeviceWorld): Promise<string[]> {
  const { core, token, db } = world;
  const paths = dataPaths(token.dataDir);
  for (const dir of [paths.logs, paths.crl, paths.anchors, paths.secrets]) mkdirSync(dir, { recursive: true });
  const audit = token.hierarchy.entries.find(({ kind }) => kind === 'audit');
  if (audit === undefined) throw new Error('no audit key');
  const signer = token.connect('worker');
  await withLease(world, async (lease, leases) => {
    const crls = makeCrlPublisher({
      ...core,
      store: crlStore,
      changes: statusChangeReader,
      leases,
      signer,
      files: makeCrlDirectory(paths.crl),
      holder: 'test',
      everySeconds: 3_600,
      lifeSeconds: 21_600,
    });
    await crls.publishDue();
    await makeSequencer({ transactor: core.transactor, leases }).sequenceOnce(lease);
    await makeAuditHeads({
      ...core,
      leases,
      signer,
      installation: token.hierarchy.installation,
      auditKeyLabel: audit.keyLabel,
      auditCertificate: audit.certificatePem,
    }).signHead(lease);
    const target = fileDropAnchor(paths.anchors);
    await anchorPending({ ...core, leases, target, certificates: [audit.certificatePem] }, lease);
  });
  const report = await checkLedger({ databaseUrl: db.url, paths, auditCertificates: [audit.certificatePem] });
  return (
    report.invariants
      .flatMap(({ id, violations }) => violations.map((text) => `${id}: ${text}`))
      // The world's own listeners were certified at the token, past the record that this judges.
      .filter((violation) => !violation.startsWith('11: services signature'))
  );
}
