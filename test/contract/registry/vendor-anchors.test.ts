import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Core, wireCore } from '../../../src/apps/wire-core.js';
import type { Tolerance } from '../../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../../src/lifecycle/registry/issuer-store.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import {
  CA_EXTENSIONS,
  certificateOf,
  LEAF_EXTENSIONS,
  spkiHashOf,
  type VendorCertificate,
  VendorPki,
  type VendorWish,
} from '../../support/vendor-ca.js';

const MAKER = 'garam';
const actor = 'person:kim';
const approve = async () => 'person:lee';
const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);

let db: TestDatabase;
let core: Core;
let clockAheadMs = 0;
const pki = new VendorPki();
beforeAll(async () => {
  db = await freshDatabase();
  core = wireCore(transactorOf(db.pool), { now: () => new Date(systemClock.now().getTime() + clockAheadMs) });
  for (const [name, prefix] of [
    [MAKER, '02'],
    ['nuribom', '06'],
  ]) {
    await db.pool.query(
      `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ($1, '\\x00', $2, now())`,
      [name, [prefix]],
    );
  }
  await db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, now()), (2, 'b2', 'FC-1', 'ff', 'open', '\\x01', 'x', 1, now())`,
  );
});
afterAll(async () => {
  pki.remove();
  await db.drop();
});

let count = 0;
/** A model of its own for each test, so that anchors of one never serve another. */
function newModel(): string {
  count += 1;
  return `FC-${count}`;
}

/** A unit whose manifest named the key of this certificate. */
async function addUnit(model: string, vendor: VendorCertificate, makerId = 1): Promise<string> {
  count += 1;
  const serialNumber = `SHB-V-${String(count).padStart(5, '0')}`;
  const eui = `02${count.toString(16).padStart(10, '0')}`;
  await db.pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at,
       vendor_spki_hash) VALUES ($1, $1, $2, $3, $2, $4, $5, 'BOOTSTRAPPED', now(), $6)`,
    [makerId, serialNumber, eui, `${eui}.femto.hanbit.example`, model, spkiHashOf(vendor)],
  );
  return serialNumber;
}

function anchorOf(
  name: string,
  model: string,
  root: VendorCertificate,
  intermediates: readonly VendorCertificate[] = [],
) {
  return {
    name,
    makerName: MAKER,
    model,
    certificateDer: root.der,
    intermediates: intermediates.map(({ der }) => der),
    actor,
  };
}

async function addAnchor(model: string, root: VendorCertificate, intermediates: readonly VendorCertificate[] = []) {
  count += 1;
  return core.vendorOffice.add(anchorOf(`anchor-${count}`, model, root, intermediates), approve);
}

const unitOf = async (leaf: VendorCertificate, chain: readonly VendorCertificate[] = [], at = new Date()) =>
  (
    await core.vendors.unitOf(
      certificateOf(leaf),
      chain.map(({ der }) => der),
      at,
    )
  )?.serialNumber ?? null;

const tolerate = (model: string, tolerance: Tolerance) =>
  core.models.set({ makerName: MAKER, model, tolerate: [tolerance], actor });

const root = (wish: Partial<VendorWish> = {}) => {
  count += 1;
  return pki.root({ subject: `/O=Garam/CN=Root ${count}`, ...wish });
};
const ca = (parent: VendorCertificate, wish: Partial<VendorWish> = {}) => {
  count += 1;
  return pki.ca(parent, { subject: `/O=Garam/CN=CA ${count}`, ...wish });
};
const leaf = (parent: VendorCertificate, wish: Partial<VendorWish> = {}) => {
  count += 1;
  return pki.leaf(parent, { subject: `/O=Garam/CN=unit ${count}`, ...wish });
};
async function entries(kind: string): Promise<Record<string, unknown>[]> {
  const { rows } = await db.pool.query<{ body: string }>('SELECT body FROM ledger_inbox WHERE kind = $1 ORDER BY id', [
    kind,
  ]);
  return rows.map(({ body }) => JSON.parse(body));
}

describe('whose a vendor certificate is', () => {
  test.each(['ec', 'rsa2048'] as const)('a %s certificate under the anchor of its model is its unit’s', async (key) => {
    const model = newModel();
    const anchor = root({ key });
    const own = leaf(anchor, { key });
    const serialNumber = await addUnit(model, own);
    await addAnchor(model, anchor);
    expect(await unitOf(own)).toBe(serialNumber);
    // The root sent along changes nothing.
    expect(await unitOf(own, [anchor])).toBe(serialNumber);
  });

  test('a certificate whose key no manifest names is nobody’s, whoever signed it', async () => {
    const model = newModel();
    const anchor = root();
    await addAnchor(model, anchor);
    expect(await unitOf(leaf(anchor))).toBeNull();
  });

  test('the name in the certificate gives nothing: only the key the manifest names does', async () => {
    const model = newModel();
    const anchor = root();
    const [genuine, thief] = [leaf(anchor, { subject: '/CN=same' }), leaf(anchor, { subject: '/CN=same' })];
    await addUnit(model, genuine);
    await addAnchor(model, anchor);
    expect(await unitOf(thief)).toBeNull();
  });

  test('no anchor, a disabled one, or one of another model or maker carries nothing', async () => {
    const model = newModel();
    const anchor = root();
    const own = leaf(anchor);
    await addUnit(model, own);
    await expect(unitOf(own)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'no anchor' } });
    await addAnchor(newModel(), anchor);
    await expect(unitOf(own)).rejects.toMatchObject({ facts: { fault: 'no anchor' } });
    const othersUnit = leaf(anchor);
    await addUnit(model, othersUnit, 2);
    const { name } = await addAnchor(model, anchor);
    expect(await unitOf(own)).not.toBeNull();
    await expect(unitOf(othersUnit)).rejects.toMatchObject({ facts: { fault: 'no anchor' } });
    // At once, though the verdict is remembered.
    await core.vendorOffice.disable({ name, actor, reason: 'maker was broken into' });
    await expect(unitOf(own)).rejects.toMatchObject({ facts: { fault: 'no anchor' } });
  });

  test('a chain to another root is refused, and so is one to a root that looks the same', async () => {
    const model = newModel();
    const anchor = root({ subject: '/O=Garam/CN=Look-alike' });
    const twin = root({ subject: '/O=Garam/CN=Look-alike' });
    const [strange, fake] = [leaf(root()), leaf(twin)];
    await addUnit(model, strange);
    await addUnit(model, fake);
    await addAnchor(model, anchor);
    await expect(unitOf(strange)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'no path' } });
    await expect(unitOf(fake, [twin])).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'untrusted' } });
  });

  test('a leaf that another unit’s key signed is refused: a device certificate is no CA', async () => {
    const model = newModel();
    const anchor = root();
    const device = leaf(anchor);
    const forged = leaf(device);
    await addUnit(model, forged);
    await addAnchor(model, anchor);
    await expect(unitOf(forged, [device])).rejects.toMatchObject({
      code: 'UNKNOWN_ISSUER',
      facts: { fault: 'untrusted' },
    });
  });

  test('a CA certificate stands for no unit, though a manifest names its key', async () => {
    const model = newModel();
    const anchor = root();
    const issuing = ca(anchor);
    await addUnit(model, issuing);
    await addAnchor(model, anchor);
    await expect(unitOf(issuing)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'leaf is a CA' } });
  });

  test('a certificate is refused before its time and after it', async () => {
    const model = newModel();
    const anchor = root({ days: 2_000 });
    const own = leaf(anchor, { days: 10 });
    await addUnit(model, own);
    await addAnchor(model, anchor);
    await expect(unitOf(own, [], inDays(11))).rejects.toMatchObject({ code: 'CERT_EXPIRED' });
    await expect(unitOf(own, [], inDays(-1))).rejects.toMatchObject({ code: 'CERT_NOT_YET_VALID' });
    expect(await unitOf(own, [], inDays(9))).not.toBeNull();
  });

  test('an RSA key of 1024 bits is weak, in the leaf and in a CA on the way', async () => {
    const model = newModel();
    const anchor = root();
    const small = leaf(anchor, { key: 'rsa1024' });
    const weakCa = ca(anchor, { key: 'rsa1024' });
    const under = leaf(weakCa);
    await addUnit(model, small);
    await addUnit(model, under);
    await addAnchor(model, anchor);
    await expect(unitOf(small)).rejects.toMatchObject({ code: 'KEY_WEAK' });
    await expect(unitOf(under, [weakCa])).rejects.toMatchObject({ code: 'KEY_WEAK' });
  });

  test('a SHA-1 signature is no step of a path', async () => {
    const model = newModel();
    const anchor = root();
    const oldCa = ca(anchor, { digest: 'sha1' });
    const own = leaf(oldCa);
    await addUnit(model, own);
    await addAnchor(model, anchor);
    expect(() => certificateOf(leaf(anchor, { digest: 'sha1' }))).toThrow(/algorithm we refuse/);
    await expect(unitOf(own, [oldCa])).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'no path' } });
  });

  test('keyUsage must allow signing; only a tolerance excuses that it is not there at all', async () => {
    const model = newModel();
    const anchor = root();
    const [silent] = [leaf(anchor, { extensions: ['basicConstraints=critical,CA:FALSE'] })];
    const wrong = leaf(anchor, { extensions: ['keyUsage=critical,keyEncipherment'] });
    const serialNumber = await addUnit(model, silent);
    await addUnit(model, wrong);
    await addAnchor(model, anchor);
    await expect(unitOf(silent)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER', facts: { fault: 'no keyUsage' } });
    await tolerate(model, 'vendor-without-key-usage');
    expect(await unitOf(silent)).toBe(serialNumber);
    await expect(unitOf(wrong)).rejects.toMatchObject({
      code: 'UNKNOWN_ISSUER',
      facts: { fault: 'no digitalSignature' },
    });
  });
});

describe('CAs between', () => {
  test('two of them in order lead to the anchor; in another order only where the model may', async () => {
    const model = newModel();
    const anchor = root();
    const upper = ca(anchor);
    const lower = ca(upper);
    const own = leaf(lower);
    const serialNumber = await addUnit(model, own);
    await addAnchor(model, anchor);
    expect(await unitOf(own, [lower, upper])).toBe(serialNumber);
    await expect(unitOf(own, [upper, lower])).rejects.toMatchObject({ facts: { fault: 'no path' } });
    await expect(unitOf(own)).rejects.toMatchObject({ facts: { fault: 'no path' } });
    await tolerate(model, 'extra-certs-any-order');
    expect(await unitOf(own, [anchor, upper, root(), lower])).toBe(serialNumber);
  });

  test('those registered with the anchor need not be sent, in whatever order they were registered', async () => {
    const model = newModel();
    const anchor = root();
    const upper = ca(anchor);
    const lower = ca(upper);
    const own = leaf(lower);
    const serialNumber = await addUnit(model, own);
    await addAnchor(model, anchor, [lower, upper]);
    expect(await unitOf(own)).toBe(serialNumber);
    expect(await unitOf(own, [lower])).toBe(serialNumber);
  });

  test('an intermediate that has expired ends the chain, though the leaf has not', async () => {
    const model = newModel();
    const anchor = root();
    const short = ca(anchor, { days: 10 });
    const own = leaf(short);
    await addUnit(model, own);
    await addAnchor(model, anchor);
    expect(await unitOf(own, [short])).not.toBeNull();
    await expect(unitOf(own, [short], inDays(11))).rejects.toMatchObject({ code: 'CERT_EXPIRED' });
  });

  test('a CA below one that forbids any is refused (path length)', async () => {
    const model = newModel();
    const anchor = root();
    const last = ca(anchor, { extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', ...CA_EXTENSIONS.slice(1)] });
    const below = ca(last);
    const own = leaf(below);
    await addUnit(model, own);
    await addAnchor(model, anchor);
    await expect(unitOf(own, [below, last])).rejects.toMatchObject({
      code: 'UNKNOWN_ISSUER',
      facts: { fault: 'untrusted' },
    });
  });

  test('a hundred certificates of junk change nothing', async () => {
    const model = newModel();
    const anchor = root();
    const own = leaf(anchor);
    const serialNumber = await addUnit(model, own);
    await addAnchor(model, anchor);
    const junk = Array.from({ length: 100 }, () => Buffer.from('3003020101', 'hex'));
    expect((await core.vendors.unitOf(certificateOf(own), junk, new Date()))?.serialNumber).toBe(serialNumber);
  });
});

describe('the maker’s CRLs', () => {
  test('a revoked certificate is refused, the one beside it is not', async () => {
    const model = newModel();
    const anchor = root();
    const [bad, good] = [leaf(anchor), leaf(anchor)];
    await addUnit(model, bad);
    const serialNumber = await addUnit(model, good);
    const { name } = await addAnchor(model, anchor);
    expect(await unitOf(bad)).not.toBeNull();
    const crlDer = pki.crl(anchor, { revoked: [bad] });
    await core.vendorOffice.importCrl({ name, crlDer, actor });
    await expect(unitOf(bad)).rejects.toMatchObject({ code: 'CERT_REVOKED' });
    expect(await unitOf(good)).toBe(serialNumber);
    expect((await entries('vendor-anchor.crl-imported')).at(-1)).toMatchObject({ entryCount: 1, actor });
  });

  test('a CRL that has run out believes nobody, until the next one is there', async () => {
    const model = newModel();
    const anchor = root();
    const own = leaf(anchor);
    const serialNumber = await addUnit(model, own);
    const { name } = await addAnchor(model, anchor);
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(anchor, { days: 1 }), actor });
    await expect(unitOf(own, [], inDays(2))).rejects.toMatchObject({
      code: 'UNKNOWN_ISSUER',
      message: expect.stringContaining('run out'),
      facts: { fault: 'crl' },
    });
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(anchor, { days: 9, number: 2 }), actor });
    expect(await unitOf(own, [], inDays(2))).toBe(serialNumber);
  });

  test('with the root’s CRL the CAs on the way are looked at, too, and each must have one', async () => {
    const model = newModel();
    const anchor = root();
    const [good, bad] = [ca(anchor), ca(anchor)];
    const [own, fallen] = [leaf(good), leaf(bad)];
    const serialNumber = await addUnit(model, own);
    await addUnit(model, fallen);
    const { name } = await addAnchor(model, anchor, [good, bad]);
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(good, {}), actor });
    expect(await unitOf(own)).toBe(serialNumber);
    await expect(unitOf(fallen)).rejects.toMatchObject({ facts: { fault: 'crl' } });
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(bad, {}), actor });
    expect(await unitOf(fallen)).not.toBeNull();
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(anchor, { revoked: [bad] }), actor });
    expect(await unitOf(own)).toBe(serialNumber);
    await expect(unitOf(fallen)).rejects.toMatchObject({ code: 'CERT_REVOKED' });
  });

  test('what one anchor of the model says is revoked, no other one carries', async () => {
    const model = newModel();
    const [first, second] = [root(), root()];
    const subject = '/O=Garam/CN=Cross';
    const one = ca(first, { subject });
    const other = ca(second, { subject, keyOf: one });
    const [own, bad] = [leaf(one), leaf(one)];
    const serialNumber = await addUnit(model, own);
    await addUnit(model, bad);
    const names = [await addAnchor(model, first, [one]), await addAnchor(model, second, [other])].map(
      ({ name }) => name,
    );
    expect(await unitOf(bad)).not.toBeNull();
    for (const name of names) {
      await core.vendorOffice.importCrl({ name, crlDer: pki.crl(one, { revoked: [bad] }), actor });
      await expect(unitOf(bad)).rejects.toMatchObject({ code: 'CERT_REVOKED' });
      expect(await unitOf(own)).toBe(serialNumber);
      await db.pool.query(`UPDATE vendor_anchor SET crls = '{}' WHERE name = $1`, [name]);
    }
  });

  test('a CA that changed its key under its name has a list for each key', async () => {
    const model = newModel();
    const anchor = root();
    const subject = '/O=Garam/CN=Rolling';
    const [before, after] = [ca(anchor, { subject }), ca(anchor, { subject })];
    const [old, fresh] = [leaf(before), leaf(after)];
    await addUnit(model, old);
    await addUnit(model, fresh);
    const { name } = await addAnchor(model, anchor, [before, after]);
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(before, { revoked: [old], number: 9 }), actor });
    const { crls } = await core.vendorOffice.importCrl({ name, crlDer: pki.crl(after, { number: 1 }), actor });
    expect(crls).toHaveLength(2);
    await expect(unitOf(old)).rejects.toMatchObject({ code: 'CERT_REVOKED' });
    expect(await unitOf(fresh)).not.toBeNull();
  });

  test('an older list takes nothing back; a stranger’s, an ended and an unreadable one are refused', async () => {
    const model = newModel();
    const anchor = root();
    const { name } = await addAnchor(model, anchor);
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(anchor, { number: 5 }), actor });
    const offered = (crlDer: Buffer) => core.vendorOffice.importCrl({ name, crlDer, actor });
    await expect(offered(pki.crl(anchor, { number: 4 }))).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await expect(offered(pki.crl(root(), {}))).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER' });
    await expect(offered(Buffer.from('3000', 'hex'))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    const ends = pki.crl(anchor, { days: 1, number: 6 });
    clockAheadMs = 2 * DAY_MS;
    await expect(offered(ends)).rejects.toMatchObject({ message: expect.stringContaining('ended at') });
    clockAheadMs = 0;
    await expect(core.vendorOffice.importCrl({ name: 'nobody', crlDer: ends, actor })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('registering an anchor', () => {
  const offered = (certificate: VendorCertificate, intermediates: readonly VendorCertificate[] = []) =>
    addAnchor('FC-R', certificate, intermediates);

  test('is an entry of the ledger with both people; the same key or name twice is refused', async () => {
    const model = newModel();
    const anchor = root();
    const { name } = await addAnchor(model, anchor);
    expect((await entries('vendor-anchor.added')).at(-1)).toMatchObject({
      model,
      certificateSha256: certificateOf(anchor).fingerprint,
      actor,
      approvedBy: 'person:lee',
    });
    await expect(addAnchor(model, anchor)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const again = core.vendorOffice.add(anchorOf(name, newModel(), root()), approve);
    await expect(again).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const nobody = core.vendorOffice.add({ ...anchorOf('x', model, root()), makerName: 'nobody' }, approve);
    await expect(nobody).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a disabled one comes back only by being added again, then without its CRLs', async () => {
    const model = newModel();
    const anchor = root();
    const { name } = await addAnchor(model, anchor);
    await core.vendorOffice.importCrl({ name, crlDer: pki.crl(anchor, {}), actor });
    await core.vendorOffice.disable({ name, actor, reason: 'asked by the maker' });
    await core.vendorOffice.disable({ name, actor, reason: 'asked by the maker' });
    expect((await entries('vendor-anchor.disabled')).filter((body) => body['model'] === model)).toHaveLength(1);
    const refused = core.vendorOffice.add(anchorOf(name, model, anchor), () =>
      Promise.reject(new Error('no approval')),
    );
    await expect(refused).rejects.toThrow('no approval');
    await core.vendorOffice.add(anchorOf(name, model, anchor), approve);
    const listed = (await core.vendorOffice.list()).filter((row) => row.name === name);
    expect(listed).toMatchObject([{ state: 'active', crls: [] }]);
  });

  test('one with a name or a key of ours is refused, in any spelling, as anchor and as intermediate', async () => {
    const ours = pki.root({ subject: '/O=Hanbit Mobile/CN=Access Root' });
    const { subjectDer, spki, notAfter } = certificateOf(ours);
    await core.transactor.run((tx) =>
      issuerStore.addIssuer(tx, {
        label: 'access-root',
        kind: 'root-access',
        state: 'offline',
        keyLabel: 'k',
        parentLabel: null,
        certificateDer: ours.der,
        subjectDer,
        keyIdentifier: spki.keyIdentifier,
        spkiDer: spki.spkiDer,
        spkiHash: spki.spkiHash,
        notAfter,
      }),
    );
    const refusal = { code: 'KEY_IN_USE', facts: { issuer: 'access-root' } };
    await expect(offered(ours)).rejects.toMatchObject(refusal);
    for (const subject of ['/O=Hanbit Mobile/CN=Access Root', '/O=HANBIT  mobile/CN=access root']) {
      await expect(offered(root({ subject }))).rejects.toMatchObject(refusal);
    }
    await expect(offered(root({ keyOf: ours }))).rejects.toMatchObject(refusal);
    const anchor = root();
    await expect(offered(anchor, [ca(anchor, { subject: '/O=Hanbit Mobile/CN=Access Root' })])).rejects.toMatchObject(
      refusal,
    );
    await expect(offered(anchor, [ca(anchor, { keyOf: ours })])).rejects.toMatchObject(refusal);
  });

  test('what is no strong, current CA that signs itself is refused', async () => {
    const anchor = root();
    await expect(offered(root({ extensions: LEAF_EXTENSIONS }))).rejects.toMatchObject({
      facts: { fault: 'the anchor is no CA certificate' },
    });
    const mute = root({ extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'] });
    await expect(offered(mute)).rejects.toMatchObject({ message: expect.stringContaining('no keyCertSign') });
    await expect(offered(ca(anchor))).rejects.toMatchObject({ facts: { fault: 'the anchor is not self-signed' } });
    await expect(offered(root({ key: 'rsa1024' }))).rejects.toMatchObject({ code: 'KEY_WEAK' });
    await expect(offered(root({ digest: 'sha1' }))).rejects.toMatchObject({ code: 'KEY_WEAK' });
    const short = root({ days: 1 });
    clockAheadMs = 2 * DAY_MS;
    await expect(offered(short)).rejects.toMatchObject({ code: 'CERT_EXPIRED' });
    clockAheadMs = -DAY_MS;
    await expect(offered(short)).rejects.toMatchObject({ code: 'CERT_NOT_YET_VALID' });
    clockAheadMs = 0;
    await expect(offered(anchor, [ca(root())])).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('OpenSSL refuses the intermediate 1'),
    });
    // OpenSSL's strict reading would refuse every unit below it; better told at once.
    await expect(
      offered(root({ extensions: ['basicConstraints=CA:TRUE', ...CA_EXTENSIONS.slice(1)] })),
    ).rejects.toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining('basicConstraints critical') });
    expect((await core.vendorOffice.list()).filter(({ model }) => model === 'FC-R')).toEqual([]);
  });
});
