/**
 * Units against a real enrol listener: real PostgreSQL, real token with its signer, TLS on loopback with a certificate of
 * the Services CA. What enrol-server does, wired the same way, with the listener's port and clock in the test's hand.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Core, wireCore } from '../../src/apps/wire-core.js';
import { type EnrolRooms, wireEnrol } from '../../src/apps/wire-enrol.js';
import { wireEst } from '../../src/apps/wire-est.js';
import { wireIssuance } from '../../src/apps/wire-issuance.js';
import type { StormWiring } from '../../src/apps/wire-storm.js';
import type { Issuance, IssuanceOptions } from '../../src/lifecycle/issuance/index.js';
import type { CertificateRecord } from '../../src/lifecycle/model/index.js';
import { loadHierarchy, type NetworkGate } from '../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../src/lifecycle/registry/issuer-store.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import type { Signer } from '../../src/platform/signer.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { watchHandshakes } from '../../src/protocol/device/tls-peer.js';
import { EST_PATH } from '../../src/protocol/est/est-path.js';
import { mountPaths } from '../../src/protocol/mount.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import { freshDatabase, type TestDatabase } from './database.js';
import { servicesLeaf } from './services-leaf.js';
import { type FreshToken, freshToken } from './token.js';

export interface DeviceWorld {
  readonly db: TestDatabase;
  readonly token: FreshToken;
  readonly core: Core;
  readonly dir: string;
  /** Chain and key of the listeners. */
  readonly identity: { readonly cert: string; readonly key: string };
  readonly servicesRootPem: string;
  readonly accessRootPem: string;
  /** The first replica's port and rooms. */
  readonly port: number;
  readonly rooms: EnrolRooms;
  readonly issuance: Issuance;
  readonly alarms: { what: string; facts: Record<string, unknown> }[];
  /** One more server over the same database, as another host would run it. */
  addReplica(options?: { signer?: Signer; options?: IssuanceOptions; storm?: StormWiring }): Promise<Replica>;
  /** A unit with its factory identity, on a line of its own that 127.0.0.0/8 does not belong to unless asked. */
  addUnit(options?: { profile?: string; state?: string }): Promise<WorldUnit>;
  addLine(name: string, prefix?: string, authoritative?: boolean): Promise<number>;
  /** An open grant, its code. */
  grant(unit: WorldUnit, options?: { lineId?: number; approvedBy?: string }): Promise<string>;
  ledgerKinds(unit: WorldUnit): Promise<string[]>;
  ledger(unit: WorldUnit, kind: string): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export interface Replica {
  readonly port: number;
  readonly rooms: EnrolRooms;
  readonly issuance: Issuance;
  readonly server: Server;
}

export interface WorldUnit {
  readonly id: number;
  readonly serialNumber: string;
  readonly fqdn: string;
  readonly lineId: number;
  readonly bootstrapKey: KeyObject;
  readonly bootstrap: CertificateRecord;
  readonly bootstrapPem: string;
  /** Files for curl: `<dir>/<serial>.pem` and `.key`. */
  readonly pemFile: string;
  readonly keyFile: string;
}

export async function startDeviceWorld(
  options: { preissueAllowed?: boolean; networkOf?: (core: Core) => NetworkGate } = {},
): Promise<DeviceWorld> {
  const [db, token] = await Promise.all([freshDatabase(), freshToken()]);
  await enterCas(db, token);
  await db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now())`,
  );
  await db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, now())`,
  );
  const dir = mkdtempSync(join(tmpdir(), 'fp-dev-'));
  const pemOf = (label: string): string => token.entry(label).certificatePem;
  writeFileSync(join(dir, 'services-root.pem'), pemOf('services-root'));
  writeFileSync(join(dir, 'access-root.pem'), pemOf('access-root'));
  const identity = await serverIdentity(token);
  const core = wireCore(transactorOf(db.pool));
  const alarms: DeviceWorld['alarms'] = [];
  const nonceKey = randomBytes(32);
  const replicas: Replica[] = [];
  const connected = token.connect('enrol');
  const workerSigner = token.connect('worker');
  // The worker's process asks for pre-issue; here one wiring stands for both.
  const signer: Signer = {
    sign: (requests) =>
      requests.every(({ purpose }) => purpose === 'preissue') ? workerSigner.sign(requests) : connected.sign(requests),
    close: async () => undefined,
  };

  const addReplica: DeviceWorld['addReplica'] = async (changes = {}) => {
    const replicaCore = replicas.length === 0 ? core : wireCore(transactorOf(db.pool));
    const alarm = (what: string, facts: Record<string, unknown>): void => void alarms.push({ what, facts });
    const issuance = wireIssuance(replicaCore, {
      signer: changes.signer ?? signer,
      operator: 'Hanbit Mobile',
      statusUrl: 'http://127.0.0.1:8080',
      alarm,
      ledgerBacklogSeconds: async () => 0,
      ...(changes.options === undefined ? {} : { options: changes.options }),
    });
    const preissueAllowed = options.preissueAllowed ?? false;
    const storm = changes.storm === undefined ? {} : { storm: changes.storm };
    const network = options.networkOf === undefined ? {} : { network: options.networkOf(replicaCore) };
    const rooms = wireEnrol(replicaCore, { issuance, nonceKey, preissueAllowed, alarm, ...storm, ...network });
    let handle: ReturnType<typeof mountPaths> | undefined;
    const server = createTlsListener({ identity }, (request, response) => void handle?.(request, response));
    const rim = {
      peerOf: watchHandshakes(server, () => systemClock.now()),
      trustedProxies: [],
      onInternal: (error: unknown, traceId: string) => alarm('internal', { error: String(error), traceId }),
    };
    handle = mountPaths({ [EST_PATH]: wireEst(replicaCore, rooms, rim) }, rooms.deviceRouter(rim));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const replica = { port, rooms, issuance, server };
    replicas.push(replica);
    return replica;
  };
  const first = await addReplica();

  const addLine: DeviceWorld['addLine'] = async (name, prefix, authoritative = true) => {
    const { rows } = await db.pool.query<{ id: number }>('INSERT INTO line (name) VALUES ($1) RETURNING id', [name]);
    const id = rows[0]?.id ?? 0;
    if (prefix !== undefined) {
      await db.pool.query(
        `INSERT INTO line_prefix (prefix, line_id, authoritative, valid_from) VALUES ($1, $2, $3, now() - interval '1 day')`,
        [prefix, id, authoritative],
      );
    }
    return id;
  };
  let count = 0;
  const addUnit: DeviceWorld['addUnit'] = async ({ profile = 'operational-7d', state = 'BOOTSTRAPPED' } = {}) => {
    count += 1;
    const lineName = `line-${count}`;
    const serialNumber = `SHB-24-${String(count).padStart(5, '0')}`;
    const eui = `02${count.toString(16).padStart(10, '0')}`;
    const fqdn = `${eui}.${token.hierarchy.realm}`;
    const { rows } = await db.pool.query<{ id: number }>(
      `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, profile, state, state_changed_at)
       VALUES (1, 1, $1, $2, $1, $3, 'FC-1', $4, $5, now()) RETURNING id`,
      [serialNumber, eui, fqdn, profile, state],
    );
    const id = rows[0]?.id ?? 0;
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const bootstrap = await first.issuance.issue({
      purpose: 'bootstrap',
      unitId: id,
      machineId: null,
      commonName: fqdn,
      sanDns: fqdn,
      spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
      lifeSeconds: 730 * 86_400,
      revocationEpoch: 0,
      successor: null,
      actor: 'test:factory',
    });
    const pemFile = join(dir, `${serialNumber}.pem`);
    const keyFile = join(dir, `${serialNumber}.key`);
    writeFileSync(pemFile, certificatePem(bootstrap.der));
    writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return {
      id,
      serialNumber,
      fqdn,
      lineId: await addLine(lineName),
      bootstrapKey: privateKey,
      bootstrap,
      bootstrapPem: certificatePem(bootstrap.der),
      pemFile,
      keyFile,
    };
  };

  return {
    db,
    token,
    core,
    dir,
    identity,
    servicesRootPem: pemOf('services-root'),
    accessRootPem: pemOf('access-root'),
    ...first,
    alarms,
    addReplica,
    addUnit,
    addLine,
    grant: async (unit, { lineId = unit.lineId, approvedBy } = {}) => {
      const { code } = await first.rooms.enrolment.createGrant({
        unitId: unit.id,
        kind: 'code',
        lineId,
        createdBy: 'person:kim',
        approvedBy: approvedBy ?? null,
        lifeSeconds: 86_400,
      });
      return code ?? '';
    },
    ledgerKinds: async (unit) => {
      const { rows } = await db.pool.query<{ kind: string }>(
        'SELECT kind FROM ledger_inbox WHERE subject = $1 ORDER BY id',
        [`unit:${unit.serialNumber}`],
      );
      return rows.map(({ kind }) => kind);
    },
    ledger: async (unit, kind) => {
      const { rows } = await db.pool.query<{ body: string }>(
        'SELECT body FROM ledger_inbox WHERE subject = $1 AND kind = $2 ORDER BY id',
        [`unit:${unit.serialNumber}`, kind],
      );
      return rows.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
    },
    close: async () => {
      for (const { server, issuance, rooms } of replicas) {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
        await issuance.close();
        await rooms.refusals.close();
      }
      await token.dispose();
      await db.drop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function enterCas(db: TestDatabase, { hierarchy }: FreshToken): Promise<void> {
  await transactorOf(db.pool).run((tx) => loadHierarchy({ issuers: issuerStore }, tx, hierarchy, new Date()));
}

async function serverIdentity(token: FreshToken): Promise<{ cert: string; key: string }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = await servicesLeaf(token, { profile: 'services-server', commonName: 'localhost', publicKey });
  return {
    cert: certificatePem(der) + token.entry('services-ca').certificatePem,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
