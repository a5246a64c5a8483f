/**
 * A small installation for issuance tests: fresh database, real SoftHSM token with its signer, the ceremony's CAs, one
 * maker and batch, and units. What the tests need to ask for certificates, and to account for every serial afterwards.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { ApprovedRequest } from '../../src/lifecycle/issuance/index.js';
import type { CertificateRecord, Issuer, Unit } from '../../src/lifecycle/model/index.js';
import { loadHierarchy } from '../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../src/lifecycle/registry/issuer-store.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import type { Signer } from '../../src/platform/signer.js';
import { readSpki, type Spki } from '../../src/x509/spki.js';
import { freshDatabase, type TestDatabase } from './database.js';
import { type IssuanceRooms, type IssuanceRoomsOptions, openIssuance } from './issuance-rooms.js';
import { type FreshToken, type FreshTokenOptions, freshToken } from './token.js';

export type TestUnit = Pick<Unit, 'id' | 'serialNumber' | 'fqdn' | 'revocationEpoch'>;

export interface IssuanceWorld extends IssuanceRooms {
  readonly db: TestDatabase;
  readonly token: FreshToken;
  readonly signer: Signer;
  issuer(label: string): Issuer;
  addUnits(count: number, state?: string): Promise<TestUnit[]>;
  addUnit(state?: string): Promise<TestUnit>;
  /** The unit as the registry has it now. */
  unit(unitId: number): Promise<TestUnit & { state: string }>;
  /** First operational certificate of a fresh unit, pending. */
  firstCertificate(unit: TestUnit): Promise<CertificateRecord>;
  close(): Promise<void>;
}

export async function startIssuanceWorld(
  options: IssuanceRoomsOptions & {
    token?: FreshTokenOptions;
    wrapSigner?: (signer: Signer) => Signer;
    /** A migrated one of the caller's own, e.g. durable; its `drop` is called at the end. */
    database?: TestDatabase;
  } = {},
): Promise<IssuanceWorld> {
  const [db, token] = await Promise.all([options.database ?? freshDatabase(), freshToken(options.token)]);
  const issuers = await enterCas(db, token).catch(async (thrown) => {
    await token.dispose(); // or its signer would keep the test run alive
    throw thrown;
  });
  await db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now())`,
  );
  await db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, now())`,
  );
  const connected = token.connect('enrol');
  const signer = options.wrapSigner?.(connected) ?? connected;
  const rooms = openIssuance(db.pool, signer, options);
  let count = 0;
  const addUnits = async (howMany: number, state = 'BOOTSTRAPPED'): Promise<TestUnit[]> => {
    const numbers = Array.from({ length: howMany }, () => ++count);
    const { rows } = await db.pool.query<TestUnit>(
      `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
       SELECT 1, 1, 'SN-' || n, lpad(to_hex(n), 12, '0'), 'SN-' || n, lpad(to_hex(n), 12, '0') || '.' || $2, 'FC-1', $3, now()
       FROM unnest($1::int[]) AS n
       RETURNING id, serial_number AS "serialNumber", fqdn, revocation_epoch AS "revocationEpoch"`,
      [numbers, token.hierarchy.realm, state],
    );
    return rows;
  };
  return {
    ...rooms,
    db,
    token,
    signer,
    issuer: (label) => {
      const found = issuers.find((issuer) => issuer.label === label);
      if (found === undefined) throw new Error(`no CA ${label}`);
      return found;
    },
    addUnits,
    addUnit: async (state) => first(await addUnits(1, state)),
    unit: async (unitId) => {
      const { rows } = await db.pool.query<TestUnit & { state: string }>(
        `SELECT id, serial_number AS "serialNumber", fqdn, state, revocation_epoch AS "revocationEpoch" FROM unit WHERE id = $1`,
        [unitId],
      );
      return first(rows);
    },
    firstCertificate: (unit) => rooms.issuance.issue(operational(unit)),
    close: async () => {
      await rooms.issuance.close();
      await token.dispose();
      await db.drop();
    },
  };
}

/** A fresh P-256 public key, read as a request's key is. */
export function freshSpki(): Spki {
  return readSpki(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' }));
}

/** Opens a lineage unless `changes` say otherwise. */
export function operational(unit: TestUnit, changes: Partial<ApprovedRequest> = {}): ApprovedRequest {
  return {
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: freshSpki(),
    lifeSeconds: 7 * 86_400,
    revocationEpoch: unit.revocationEpoch,
    successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
    actor: `unit:${unit.serialNumber}`,
    ...changes,
  };
}

/** The renewal that follows a certificate. */
export async function successorOf(
  world: Pick<IssuanceWorld, 'lineages' | 'transactor'>,
  certificate: CertificateRecord,
): Promise<NonNullable<ApprovedRequest['successor']>> {
  const slot =
    (await world.lineages.viewBySerial(world.transactor.read, certificate.issuerId, certificate.serial))?.slot ?? null;
  if (slot === null) throw new Error('the certificate has no slot');
  return { lineageId: slot.lineageId, generation: slot.generation + 1, preissued: false, displacesSlotId: null };
}

async function enterCas(db: TestDatabase, token: FreshToken): Promise<readonly Issuer[]> {
  return transactorOf(db.pool).run((tx) => loadHierarchy({ issuers: issuerStore }, tx, token.hierarchy, new Date()));
}

function first<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined) throw new Error('nothing there');
  return item;
}
