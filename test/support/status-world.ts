/**
 * A small installation for status tests: three roots, their CAs and OCSP signers with keys in memory, a maker with one
 * batch, units with certificates, on a fresh database. Signing is by a signer in memory that checks nothing; what the
 * real one refuses is its own tests' business.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { Issuer, IssuerKind } from '../../src/lifecycle/model/index.js';
import type { Clock } from '../../src/platform/clock.js';
import type { Transactor } from '../../src/platform/db/transaction.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import type { Signer, SignRequest } from '../../src/platform/signer.js';
import { systemClock, systemRandom } from '../../src/platform/system-clock.js';
import { assembleCertificate, readCertificate } from '../../src/x509/certificate.js';
import { certificateTemplate, type TemplateInput } from '../../src/x509/certificate-template.js';
import { assembleCrl, buildCrlTbs } from '../../src/x509/crl.js';
import { certificateName } from '../../src/x509/distinguished-name.js';
import { PROFILES, type ProfileName } from '../../src/x509/profiles.js';
import { newSerial } from '../../src/x509/serial.js';
import { readSpki, type Spki } from '../../src/x509/spki.js';
import { freshDatabase, type TestDatabase } from './database.js';

export const REALM = 'femto.hanbit.example';
const OPERATOR = 'Hanbit Mobile';
const DAY_MS = 86_400_000;

export interface Key {
  readonly privateKey: KeyObject;
  readonly spki: Spki;
}

export interface WorldCa extends Issuer {
  readonly key: Key;
  readonly ocspKeyLabel: string;
}

export interface WorldCertificate {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
  readonly unitId: number | null;
  readonly der: Buffer;
  readonly key: Key;
}

export interface StatusWorld {
  readonly db: TestDatabase;
  readonly transactor: Transactor;
  readonly signer: Signer;
  /** By label: for a signer of the caller's own. */
  readonly keys: ReadonlyMap<string, Key>;
  /** Every request the signer got. */
  readonly signed: SignRequest[];
  /** Makes the signer answer HSM_UNAVAILABLE. */
  breakSigner(broken: boolean): void;
  readonly roots: Readonly<Record<'access' | 'bootstrap' | 'services', WorldCa>>;
  readonly deviceCa: WorldCa;
  readonly bootstrapCa: WorldCa;
  readonly servicesCa: WorldCa;
  readonly allCas: readonly WorldCa[];
  readonly batchId: number;
  /** Another one beside {@link deviceCa}, e.g. `device-ca-2`. */
  addDeviceCa(label: string): Promise<WorldCa>;
  beat(at?: Date): Promise<void>;
  addPerson(name: string, role?: 'operator' | 'approver'): Promise<number>;
  addUnit(options?: {
    state?: string;
    keyProtection?: string;
  }): Promise<{ id: number; serialNumber: string; fqdn: string }>;
  /** Issued and recorded; `state: 'signing'` leaves an intent only. */
  issue(options: {
    unitId?: number | null;
    ca?: WorldCa;
    purpose?: 'operational' | 'bootstrap' | 'services';
    /** With `services`: a server's certificate for this name, in place of a station's. */
    serverName?: string;
    state?: 'issued' | 'signing' | 'abandoned';
    notBefore?: Date;
    lifeSeconds?: number;
    key?: Key;
    generation?: number;
    /** File that its distribution point names; default the complete CRL of its CA. */
    crlFile?: (caLabel: string, serial: Buffer) => string;
  }): Promise<WorldCertificate>;
  /** Another certificate for the CA's OCSP key, beside those that it has. */
  certifyOcspSigner(ca: WorldCa, notBefore: Date, notAfter: Date): Promise<void>;
  rootCrl(root: WorldCa): Buffer;
  newKey(curve?: 'P-256' | 'P-384'): Key;
  close(): Promise<void>;
}

/** @param options.db  a migrated database of the test's own; `close` drops it */
export async function startStatusWorld(
  options: { baseUrl?: string; clock?: Clock; db?: TestDatabase } = {},
): Promise<StatusWorld> {
  const baseUrl = options.baseUrl ?? 'http://127.0.0.1:8080';
  const clock = options.clock ?? systemClock;
  const db = options.db ?? (await freshDatabase());
  const transactor = transactorOf(db.pool);
  const keys = new Map<string, Key>();
  const now = clock.now();
  let unitCount = 0;

  const certify = (issuer: WorldCa | null, input: CertifyInput): Buffer => {
    const issuerKey = issuer?.key ?? input.key;
    const algorithm = issuerKey.spki.algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
    const template = certificateTemplate({
      profile: PROFILES[input.profile],
      issuerSubjectDer: issuer?.subjectDer ?? certificateName({ organization: OPERATOR, commonName: input.commonName }),
      issuerKeyIdentifier: issuer?.keyIdentifier ?? Buffer.alloc(0),
      issuerSignature: algorithm,
      operator: OPERATOR,
      ...input.pointers,
    });
    const tbs = template.build({
      serial: input.serial ?? newSerial(now, systemRandom),
      subject: { commonName: input.commonName },
      ...(input.sanDns !== undefined && { sanDns: input.sanDns }),
      spki: input.key.spki,
      notBefore: input.notBefore,
      notAfter: input.notAfter,
    });
    return assembleCertificate(tbs, algorithm, sign(hashOf(algorithm), tbs, issuerKey.privateKey));
  };

  const addCa = async (label: string, kind: IssuerKind, parent: WorldCa | null): Promise<WorldCa> => {
    const key = newKey(parent === null ? 'P-384' : 'P-256');
    keys.set(label, key);
    const notBefore = new Date(now.getTime() - DAY_MS);
    const notAfter = new Date(now.getTime() + 1_000 * DAY_MS);
    const profile: ProfileName = parent === null ? 'root' : (kind as ProfileName);
    const pointers: CertifyInput['pointers'] =
      parent === null
        ? {}
        : {
            crlUrl: `${baseUrl}/crl/${parent.label}.crl`,
            caUrl: `${baseUrl}/ca/${parent.label}.cer`,
            ...(kind === 'device-ca' && { nameConstraintDns: REALM }),
          };
    const der = certify(parent, { profile, commonName: `${OPERATOR} ${label}`, key, notBefore, notAfter, pointers });
    const certificate = readCertificate(der);
    const state = parent === null ? 'offline' : 'active';
    const { rows } = await db.pool.query<{ id: number }>(
      `INSERT INTO issuer (label, kind, state, key_label, parent_label, certificate_der, subject_der, key_identifier, spki_hash, not_after)
       VALUES ($1, $2, $3, $1, $4, $5, $6, $7, $8, $9) RETURNING id`,
      [
        label,
        kind,
        state,
        parent?.label ?? null,
        der,
        certificate.subjectDer,
        key.spki.keyIdentifier,
        key.spki.spkiHash,
        notAfter,
      ],
    );
    const ocspKeyLabel = `ocsp-${label}`;
    const ca: WorldCa = {
      id: rows[0]?.id ?? 0,
      label,
      kind,
      state,
      keyLabel: label,
      certificateDer: der,
      subjectDer: certificate.subjectDer,
      keyIdentifier: key.spki.keyIdentifier,
      spkiDer: key.spki.spkiDer,
      notAfter,
      key,
      ocspKeyLabel,
    };
    if (parent !== null) await addOcspSigner(ca);
    return ca;
  };

  const addOcspSigner = async (
    ca: WorldCa,
    notBefore = new Date(now.getTime() - 3_600_000),
    notAfter = new Date(now.getTime() + 10 * DAY_MS),
  ): Promise<void> => {
    // OCSP keys are certified anew, never replaced (rules 1.3).
    const key = keys.get(ca.ocspKeyLabel) ?? newKey();
    keys.set(ca.ocspKeyLabel, key);
    const der = certify(ca, {
      profile: 'ocsp-signer',
      commonName: ca.ocspKeyLabel,
      key,
      notBefore,
      notAfter,
      pointers: {},
    });
    await db.pool.query(
      'INSERT INTO ocsp_signer (issuer_id, not_before, not_after, key_label, certificate_der) VALUES ($1, $2, $3, $4, $5)',
      [ca.id, notBefore, notAfter, ca.ocspKeyLabel, der],
    );
  };

  await db.pool.query(
    `INSERT INTO installation (installation_id, operator, realm, mode, created_at) VALUES ('test', $1, $2, 'demo', $3)`,
    [OPERATOR, REALM, now],
  );
  const access = await addCa('access-root', 'root-access', null);
  const bootstrap = await addCa('bootstrap-root', 'root-bootstrap', null);
  const services = await addCa('services-root', 'root-services', null);
  const deviceCa = await addCa('device-ca-1', 'device-ca', access);
  const bootstrapCa = await addCa('bootstrap-ca', 'bootstrap-ca', bootstrap);
  const servicesCa = await addCa('services-ca', 'services-ca', services);
  await db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('acme', '\\x00', '{02}', $1)`,
    [now],
  );
  await db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, $1)`,
    [now],
  );

  const signed: SignRequest[] = [];
  let isBroken = false;
  const signer: Signer = {
    sign: async (requests) => {
      signed.push(...requests);
      return requests.map((request) => {
        const key = keys.get(request.keyLabel);
        if (isBroken || !key) return { ok: false, code: 'HSM_UNAVAILABLE', message: 'The token is away.' };
        const algorithm = key.spki.algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
        return { ok: true, signature: sign(hashOf(algorithm), request.tbs, key.privateKey) };
      });
    },
    close: async () => undefined,
  };

  const world: StatusWorld = {
    db,
    transactor,
    signer,
    keys,
    signed,
    breakSigner: (broken) => {
      isBroken = broken;
    },
    roots: { access, bootstrap, services },
    deviceCa,
    bootstrapCa,
    servicesCa,
    allCas: [access, bootstrap, services, deviceCa, bootstrapCa, servicesCa],
    batchId: 1,
    addDeviceCa: (label) => addCa(label, 'device-ca', access),
    beat: async (at = clock.now()) => {
      await db.pool.query(
        'INSERT INTO heartbeat (id, epoch, at) VALUES (1, 1, $1) ON CONFLICT (id) DO UPDATE SET at = $1',
        [at],
      );
    },
    addPerson: async (name, role = 'operator') => {
      const { rows } = await db.pool.query<{ id: number }>(
        'INSERT INTO person (name, role, created_at) VALUES ($1, $2, $3) RETURNING id',
        [name, role, now],
      );
      return rows[0]?.id ?? 0;
    },
    addUnit: async ({ state = 'ACTIVE', keyProtection = 'unknown' } = {}) => {
      unitCount += 1;
      const eui = `02${unitCount.toString(16).padStart(10, '0')}`;
      const fqdn = `${eui}.${REALM}`;
      const serialNumber = `SN-${unitCount}`;
      const { rows } = await db.pool.query<{ id: number }>(
        `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, key_protection)
         VALUES (1, 1, $1, $2, $1, $3, 'FC-1', $4, $5, $6) RETURNING id`,
        [serialNumber, eui, fqdn, state, clock.now(), keyProtection],
      );
      return { id: rows[0]?.id ?? 0, serialNumber, fqdn };
    },
    issue: async (request) => {
      const { unitId = null, state = 'issued', key = newKey(), generation } = request;
      const purpose = request.purpose ?? 'operational';
      const ca = request.ca ?? { operational: deviceCa, bootstrap: bootstrapCa, services: servicesCa }[purpose];
      const notBefore = request.notBefore ?? new Date(clock.now().getTime() - 3_600_000);
      const notAfter = wholeSecond(new Date(notBefore.getTime() + (request.lifeSeconds ?? 7 * 86_400) * 1_000 - 1_000));
      const serial = newSerial(notBefore, systemRandom);
      const attempt = randomUUID();
      const fqdn = `${serial.toString('hex').slice(-12)}.${REALM}`;
      const { serverName } = request;
      const servicesProfile = serverName === undefined ? 'services-station' : 'services-server';
      const profile: ProfileName = purpose === 'services' ? servicesProfile : purpose;
      const pointers = {
        crlUrl: `${baseUrl}/crl/${request.crlFile?.(ca.label, serial) ?? `${ca.label}.crl`}`,
        ocspUrl: `${baseUrl}/ocsp`,
        caUrl: `${baseUrl}/ca/${ca.label}.cer`,
      };
      const commonName = purpose === 'services' ? `station-${serial.toString('hex').slice(-6)}` : fqdn;
      const sanDns = purpose === 'services' ? serverName : fqdn;
      const der = certify(ca, {
        profile,
        commonName,
        ...(sanDns !== undefined && { sanDns }),
        key,
        notBefore,
        notAfter,
        serial,
        pointers,
      });
      let slotId: number | null = null;
      if (generation !== undefined && unitId !== null)
        slotId = await addSlot(db, { unitId, generation, ca, serial, key, notBefore, notAfter, attempt });
      await db.pool.query(
        `INSERT INTO issuance_intent (attempt_id, created_at, issuer_id, serial, purpose, unit_id, spki_hash, not_after, tbs, tbs_hash, slot_id, revocation_epoch, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '\\x00', '\\x00', $9, 0, $10)`,
        [attempt, notBefore, ca.id, serial, purpose, unitId, key.spki.spkiHash, notAfter, slotId, state],
      );
      if (state === 'issued') {
        await db.pool.query(
          `INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, slot_id, generation, spki_hash, not_before, attempt_id, issued_at, der)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $11)`,
          [
            notAfter,
            ca.id,
            serial,
            purpose,
            unitId,
            slotId,
            generation ?? null,
            key.spki.spkiHash,
            notBefore,
            attempt,
            der,
          ],
        );
        // As T2 does: who follows the ledger hears of it.
        await ledger.append(transactor.read, [
          {
            kind: 'certificate.issued',
            subject: `certificate:${serial.toString('hex')}`,
            at: clock.now(),
            body: { issuerId: ca.id, serial: serial.toString('hex'), unitId, notAfter },
          },
        ]);
      }
      return { issuerId: ca.id, serial, notAfter, unitId, der, key };
    },
    rootCrl: (root) => {
      const thisUpdate = wholeSecond(new Date(clock.now().getTime() - 1_000));
      const tbs = buildCrlTbs({
        issuerSubjectDer: root.subjectDer,
        issuerKeyIdentifier: root.keyIdentifier,
        alg: 'ecdsa-with-SHA384',
        number: 1n,
        thisUpdate,
        nextUpdate: new Date(thisUpdate.getTime() + 100 * DAY_MS),
        entries: [],
      });
      return assembleCrl(tbs, 'ecdsa-with-SHA384', sign('sha384', tbs, root.key.privateKey));
    },
    certifyOcspSigner: addOcspSigner,
    newKey,
    close: () => db.drop(),
  };
  return world;
}

interface CertifyInput {
  readonly profile: ProfileName;
  readonly commonName: string;
  readonly sanDns?: string;
  readonly key: Key;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly serial?: Buffer;
  readonly pointers: Pick<TemplateInput, 'crlUrl' | 'ocspUrl' | 'caUrl' | 'nameConstraintDns'>;
}

async function addSlot(
  db: TestDatabase,
  slot: {
    unitId: number;
    generation: number;
    ca: WorldCa;
    serial: Buffer;
    key: Key;
    notBefore: Date;
    notAfter: Date;
    attempt: string;
  },
): Promise<number> {
  const { unitId, generation, ca, serial, key, notBefore, notAfter, attempt } = slot;
  const open = await db.pool.query<{ id: number }>(`SELECT id FROM lineage WHERE unit_id = $1 AND state <> 'closed'`, [
    unitId,
  ]);
  const lineageId =
    open.rows[0]?.id ??
    (
      await db.pool.query<{ id: number }>(
        `INSERT INTO lineage (unit_id, state, opened_at) VALUES ($1, 'open', $2) RETURNING id`,
        [unitId, notBefore],
      )
    ).rows[0]?.id;
  const { rows } = await db.pool.query<{ id: number }>(
    `INSERT INTO lineage_slot (lineage_id, unit_id, generation, state, spki_hash, issuer_id, serial, not_before, not_after, attempt_id, renew_from, renew_until, created_at, confirmed_at)
     VALUES ($1, $2, $3, 'confirmed', $4, $5, $6, $7, $8, $9, $8, $8, $7, $7) RETURNING id`,
    [lineageId, unitId, generation, key.spki.spkiHash, ca.id, serial, notBefore, notAfter, attempt],
  );
  return rows[0]?.id ?? 0;
}

function newKey(curve: 'P-256' | 'P-384' = 'P-256'): Key {
  const pair = generateKeyPairSync('ec', {
    namedCurve: curve,
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return {
    privateKey: createPrivateKey({ key: pair.privateKey, format: 'der', type: 'pkcs8' }),
    spki: readSpki(pair.publicKey),
  };
}

function hashOf(algorithm: 'ecdsa-with-SHA256' | 'ecdsa-with-SHA384'): 'sha256' | 'sha384' {
  return algorithm === 'ecdsa-with-SHA384' ? 'sha384' : 'sha256';
}

function wholeSecond(at: Date): Date {
  return new Date(Math.floor(at.getTime() / 1_000) * 1_000);
}
