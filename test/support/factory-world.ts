/** A maker, its batch, stations and tokens over a {@link StatusWorld}, with issuance and the factory room as wired. */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign, SignJWT } from 'jose';
import { factoryCredentialStore } from '../../src/lifecycle/factory/credential-store.pg.js';
import { type FactoryOffice, makeFactoryOffice } from '../../src/lifecycle/factory/index.js';
import { macSecretStore } from '../../src/lifecycle/factory/mac-secret-store.pg.js';
import { onceGuard } from '../../src/lifecycle/factory/once-guard.pg.js';
import { certificateReader } from '../../src/lifecycle/issuance/certificate-reader.pg.js';
import { type Issuance, makeClockGuard, makeIssuance } from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import {
  type IssuerDirectory,
  type MachineOffice,
  makeIssuerDirectory,
  makeMachineOffice,
  makeNetworkGate,
  makeRegistry,
  makeRegistryOffice,
  type Registry,
  type RegistryOffice,
} from '../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../src/lifecycle/registry/issuer-store.pg.js';
import { machineStore } from '../../src/lifecycle/registry/machine-store.pg.js';
import { makerStore } from '../../src/lifecycle/registry/maker-store.pg.js';
import { modelStore } from '../../src/lifecycle/registry/model-store.pg.js';
import { networkPolicyStore } from '../../src/lifecycle/registry/network-store.pg.js';
import { placeStore } from '../../src/lifecycle/registry/place-store.pg.js';
import { unitStore } from '../../src/lifecycle/registry/unit-store.pg.js';
import { credentialStatusReader } from '../../src/lifecycle/status/status-row-store.pg.js';
import type { Clock } from '../../src/platform/clock.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { NO_GEO } from '../../src/platform/net/geo-databases.js';
import { systemClock, systemRandom } from '../../src/platform/system-clock.js';
import { readSpki } from '../../src/x509/spki.js';
import { openStatusRooms } from './status-rooms.js';
import { type Key, REALM, type StatusWorld, startStatusWorld } from './status-world.js';

export interface FactoryWorld extends StatusWorld {
  readonly factory: FactoryOffice;
  readonly issuance: Issuance;
  readonly issuers: IssuerDirectory;
  readonly registry: Registry;
  readonly office: RegistryOffice;
  readonly machines: MachineOffice;
  /** Moves the clock that the factory room reads; issuance keeps the true one. */
  setClock(at: Date | null): void;
  readonly manifestKey: Key;
  /** Signs a manifest of maker `hanbit-devices` (prefix 0211); fields may be replaced. */
  signManifest(fields?: Record<string, unknown>, key?: Key): Promise<string>;
  /** Ledger entries of a kind, oldest first. */
  entries(kind: string): Promise<{ subject: string; body: Record<string, unknown> }[]>;
  /** An approved station with its key and certificate. */
  addStation(name: string, makerName?: string): Promise<{ key: Key; certificateDer: Buffer; spkiHash: Buffer }>;
}

export const MAKER = 'hanbit-devices';

export async function startFactoryWorld(): Promise<FactoryWorld> {
  const world = await startStatusWorld();
  const { transactor, signer, db } = world;
  const rooms = openStatusRooms(world);
  let fixed: Date | null = null;
  const clock: Clock = { now: () => fixed ?? systemClock.now() };
  const issuers = makeIssuerDirectory({ transactor, issuers: issuerStore, clock });
  const registry = makeRegistry({ units: unitStore, places: placeStore, models: modelStore, ledger });
  const office = makeRegistryOffice({ transactor, makers: makerStore, places: placeStore, ledger, clock });
  const machines = makeMachineOffice({ transactor, machines: machineStore, makers: makerStore, ledger, clock });
  const issuance = makeIssuance({
    transactor,
    store: issuanceStore,
    certificates: certificateReader,
    ledger,
    signer,
    issuers,
    clock: systemClock,
    random: systemRandom,
    operator: 'Hanbit Mobile',
    urlsOf: ({ label }) => ({
      crlUrl: `http://127.0.0.1:8080/crl/${label}.crl`,
      ocspUrl: 'http://127.0.0.1:8080/ocsp',
      caUrl: `http://127.0.0.1:8080/ca/${label}.cer`,
    }),
    clockGuard: makeClockGuard({ clock: systemClock, monotonicMs: () => performance.now(), buildTime: new Date(0) }),
    ledgerBacklogSeconds: async () => 0,
    revocation: rooms.revocation,
    alarm: () => undefined,
  });
  const factory = makeFactoryOffice({
    transactor,
    clock,
    ledger,
    registry,
    units: unitStore,
    makers: makerStore,
    machines,
    issuers,
    installation: issuerStore,
    credentials: factoryCredentialStore,
    guard: onceGuard,
    macSecrets: macSecretStore,
    macKey: randomBytes(32),
    random: systemRandom,
    bootstraps: certificateReader,
    network: makeNetworkGate({ policies: networkPolicyStore, geo: NO_GEO, clock, versionKnownMs: 0 }),
    certificates: credentialStatusReader,
    issuance,
    revocation: rooms.revocation,
  });
  await db.pool.query(`UPDATE maker SET eui_prefixes = '{0200}' WHERE name = 'acme'`);
  const manifestKey = world.newKey();
  await office.registerMaker({
    name: MAKER,
    manifestKeySpki: manifestKey.spki.spkiDer,
    euiPrefixes: ['0211'],
    actor: 'person:test',
  });
  const personId = await world.addPerson('approver-of-stations');

  return {
    ...world,
    factory,
    issuance,
    issuers,
    registry,
    office,
    machines,
    setClock: (at) => {
      fixed = at;
    },
    manifestKey,
    signManifest: (fields = {}, key = manifestKey) => signManifest(manifestOf(fields), key),
    entries: async (kind) => {
      const { rows } = await db.pool.query<{ subject: string; body: string }>(
        'SELECT subject, body FROM ledger_inbox WHERE kind = $1 ORDER BY id',
        [kind],
      );
      return rows.map(({ subject, body }) => ({ subject, body: JSON.parse(body) as Record<string, unknown> }));
    },
    addStation: async (name, makerName = MAKER) => {
      const { key, csrDer } = requestFor(name);
      await machines.request({ kind: 'station', name, makerName, csrDer, actor: 'person:test' });
      await machines.approve({ name, personId, actor: 'person:test' });
      const { der } = await world.issue({ purpose: 'services', key });
      return { key, certificateDer: der, spkiHash: key.spki.spkiHash };
    },
    close: async () => {
      await issuance.close();
      rooms.remove();
      await world.close();
    },
  };
}

export interface ManifestRow {
  readonly serialNumber: string;
  readonly eui: string;
  readonly hardwareId: string;
}

export function manifestRow(n: number, prefix = 'SHB-T'): ManifestRow {
  return {
    serialNumber: `${prefix}-${String(n).padStart(6, '0')}`,
    eui: `0211${n.toString(16).padStart(8, '0')}`,
    hardwareId: `${prefix}-HW-${n}`,
  };
}

export function manifestOf(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    maker: MAKER,
    batch: `b-${randomBytes(4).toString('hex')}`,
    model: 'FC-200',
    firmwareSha256: 'ab'.repeat(32),
    units: [manifestRow(1)],
    createdAt: new Date().toISOString(),
    nonce: randomBytes(16).toString('hex'),
    ...fields,
  };
}

export function signManifest(payload: unknown, key: Key, alg = 'ES256'): Promise<string> {
  const bytes = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  return new CompactSign(bytes).setProtectedHeader({ alg }).sign(key.privateKey);
}

export function factoryToken(key: Key, claims: Record<string, unknown>): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({ iat: now, exp: now + 120, jti: randomBytes(16).toString('hex'), ...claims })
    .setProtectedHeader({ alg: 'ES256' })
    .sign(key.privateKey);
}

/** A request made by openssl, as a station makes it; the key is given back for later use. */
export function requestFor(commonName: string, key: Key = freshKey()): { key: Key; csrDer: Buffer; csrPem: string } {
  const dir = mkdtempSync(join(tmpdir(), 'fp-csr-'));
  const keyFile = join(dir, 'key.pem');
  writeFileSync(keyFile, key.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const csrPem = execFileSync('openssl', ['req', '-new', '-sha256', '-key', keyFile, '-subj', `/CN=${commonName}`], {
    encoding: 'utf8',
  });
  rmSync(dir, { recursive: true });
  const body = csrPem.replaceAll(/-----[^-]+-----|\s/g, '');
  return { key, csrPem, csrDer: Buffer.from(body, 'base64') };
}

export function fqdnOf(row: ManifestRow): string {
  return `${row.eui}.${REALM}`;
}

function freshKey(): Key {
  const pair = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return {
    privateKey: createPrivateKey({ key: pair.privateKey, format: 'der', type: 'pkcs8' }),
    spki: readSpki(pair.publicKey),
  };
}
