/**
 * Makers whose units leave the line with certificates of their maker's own CA (TS 33.310 clause 9), before a CMP server of
 * ours: everything on the makers' side is made by OpenSSL, and every unit comes from a signed manifest.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { CompactSign } from 'jose';
import type { Tolerance } from '../../src/lifecycle/registry/index.js';
import type { CmpWorld, OpensslCall, OpensslRun } from '../support/cmp-world.js';
import type { CurlCredential } from '../support/curl-unit.js';
import { spkiHashOf, type VendorCertificate, VendorPki } from '../support/vendor-ca.js';

/** A root, the CA below it that signs units, and the model that both are for. */
export interface MakerLine {
  readonly maker: string;
  readonly model: string;
  readonly anchor: string;
  readonly root: VendorCertificate;
  readonly ca: VendorCertificate;
}

export interface VendorUnit {
  readonly id: number;
  readonly serialNumber: string;
  readonly fqdn: string;
  readonly lineId: number;
  readonly leaf: VendorCertificate;
  readonly as: CurlCredential;
  /** PEM file of the CAs it sends along. */
  readonly chainFile: string;
}

export interface MakerWorld {
  readonly cmp: CmpWorld;
  readonly pki: VendorPki;
  addMaker(name: string, euiPrefix: string): Promise<void>;
  /** A model with a root of its own, which two people believe unless `believed` is false; `registered`: with the CA between. */
  addLine(wish: {
    maker: string;
    model: string;
    dn: string;
    key: 'ec' | 'rsa2048';
    registered?: boolean;
    believed?: boolean;
  }): Promise<MakerLine>;
  /** A unit on an accepted manifest whose row names the leaf's key. */
  addUnit(line: MakerLine, leaf?: VendorCertificate): Promise<VendorUnit>;
  /** One whose row names no key: it has nothing yet. */
  addManifested(line: MakerLine): Promise<Pick<VendorUnit, 'id' | 'serialNumber' | 'lineId'>>;
  leaf(line: MakerLine, wish?: Partial<Parameters<VendorPki['leaf']>[1]>): VendorCertificate;
  order(unit: Pick<VendorUnit, 'id' | 'lineId'>): Promise<void>;
  /** A code instead of an order. */
  code(unit: Pick<VendorUnit, 'id' | 'lineId'>): Promise<string>;
  /** `openssl cmp -cmd ir` with the unit's vendor certificate and what it sends along. */
  ir(unit: VendorUnit, call?: OpensslCall & { newKey?: string }): Promise<OpensslRun & { keyFile: string }>;
  tolerate(line: Pick<MakerLine, 'maker' | 'model'>, ...tolerances: readonly Tolerance[]): Promise<void>;
  stateOf(unit: Pick<VendorUnit, 'id'>): Promise<string>;
  slotsOf(unit: Pick<VendorUnit, 'id'>): Promise<string[]>;
  /** Exact codes of what the unit was refused for. */
  refusalsOf(unit: Pick<VendorUnit, 'serialNumber'>): Promise<string[]>;
  close(): Promise<void>;
}

export function makerWorld(cmp: CmpWorld): MakerWorld {
  const pki = new VendorPki();
  const { core, db } = cmp.world;
  const manifestKeys = new Map<string, { key: KeyObject; euiPrefix: string }>();
  let count = 0;

  const leaf: MakerWorld['leaf'] = (line, wish = {}) =>
    pki.leaf(line.ca, { subject: `/O=${line.maker}/CN=unit ${++count}`, ...wish });

  /** A batch of one, signed, submitted, accepted. */
  const manifest = async ({ maker, model }: MakerLine, fields: { vendorSpkiSha256?: string }) => {
    const { key, euiPrefix } = manifestKeys.get(maker) ?? { euiPrefix: '' };
    if (key === undefined) throw new Error(`there is no maker ${maker}`);
    count += 1;
    const serialNumber = `SHB-V-${String(count).padStart(5, '0')}`;
    const eui = `${euiPrefix}${count.toString(16).padStart(12 - euiPrefix.length, '0')}`;
    const text = JSON.stringify({
      ...{ maker, batch: `b-${count}`, model, firmwareSha256: 'ab'.repeat(32) },
      ...{ createdAt: new Date().toISOString(), nonce: randomBytes(16).toString('hex') },
      units: [{ serialNumber, eui, hardwareId: `HW-${count}`, ...fields }],
    });
    const jws = await new CompactSign(Buffer.from(text)).setProtectedHeader({ alg: 'ES256' }).sign(key);
    const { batchId } = await cmp.first.factory.submitManifest({ jws, dryRun: false });
    await cmp.first.factory.acceptManifest({ batchId: batchId ?? 0, actor: 'person:kim' });
    const { rows } = await db.pool.query<{ id: number; fqdn: string }>(
      'SELECT id, fqdn FROM unit WHERE serial_number = $1',
      [serialNumber],
    );
    const [{ id, fqdn } = { id: 0, fqdn: '' }] = rows;
    return { id, fqdn, serialNumber, lineId: await cmp.world.addLine(`line-v${count}`) };
  };

  const grant = async ({ id, lineId }: Pick<VendorUnit, 'id' | 'lineId'>, kind: 'order' | 'code') => {
    const people = { createdBy: 'person:kim', approvedBy: null };
    const wish = { unitId: id, kind, lineId, lifeSeconds: 86_400, ...people };
    return (await cmp.world.rooms.enrolment.createGrant(wish)).code;
  };

  return {
    cmp,
    pki,
    leaf,
    addMaker: async (name, euiPrefix) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const manifestKeySpki = publicKey.export({ type: 'spki', format: 'der' });
      await core.office.registerMaker({ name, manifestKeySpki, euiPrefixes: [euiPrefix], actor: 'person:kim' });
      manifestKeys.set(name, { key: privateKey, euiPrefix });
    },
    addLine: async ({ maker, model, dn, key, registered = false, believed = true }) => {
      const root = pki.root({ subject: `${dn}/CN=Root`, key });
      const ca = pki.ca(root, { subject: `${dn}/CN=Device CA`, key });
      const anchor = `${model.toLowerCase()}-root`;
      if (!believed) return { maker, model, anchor, root, ca };
      await core.vendorOffice.add(
        {
          name: anchor,
          makerName: maker,
          model,
          certificateDer: root.der,
          intermediates: registered ? [ca.der] : [],
          actor: 'person:kim',
        },
        async () => 'person:lee',
      );
      return { maker, model, anchor, root, ca };
    },
    addUnit: async (line, certificate = leaf(line)) => ({
      ...(await manifest(line, { vendorSpkiSha256: spkiHashOf(certificate).toString('hex') })),
      leaf: certificate,
      as: { pemFile: certificate.certFile, keyFile: certificate.keyFile },
      chainFile: line.ca.certFile,
    }),
    addManifested: (line) => manifest(line, {}),
    order: async (unit) => {
      await grant(unit, 'order');
    },
    code: async (unit) => (await grant(unit, 'code')) ?? '',
    ir: async (unit, { newKey, flags = [], ...call } = {}) => {
      const keyFile = newKey ?? (await cmp.newKey());
      const run = await cmp.openssl('ir', {
        as: unit.as,
        ...call,
        flags: ['-newkey', keyFile, '-extracerts', unit.chainFile, ...flags],
      });
      return { ...run, keyFile };
    },
    tolerate: async ({ maker, model }, ...tolerate) => {
      const before = (await core.models.list()).find((known) => known.model === model);
      const noTolerate = [...(before?.tolerances ?? [])].filter((tolerance) => !tolerate.includes(tolerance));
      await core.models.set({ makerName: maker, model, tolerate, noTolerate, actor: 'person:kim' });
    },
    stateOf: async ({ id }) => (await db.pool.query('SELECT state FROM unit WHERE id = $1', [id])).rows[0].state,
    slotsOf: async ({ id }) => {
      const { rows } = await db.pool.query<{ text: string }>(
        `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id`,
        [id],
      );
      return rows.map(({ text }) => text);
    },
    refusalsOf: async ({ serialNumber }) => {
      const { rows } = await db.pool.query<{ code: string }>(
        `SELECT body::json ->> 'code' AS code FROM ledger_inbox
         WHERE subject = $1 AND kind = 'request.refused' ORDER BY id`,
        [`unit:${serialNumber}`],
      );
      return rows.map(({ code }) => code);
    },
    close: async () => {
      pki.remove();
      await cmp.close();
    },
  };
}
