import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FemtoError } from '../../../src/platform/errors.js';
import {
  type FactoryWorld,
  fqdnOf,
  MAKER,
  manifestOf,
  manifestRow,
  signManifest,
  startFactoryWorld,
} from '../../support/factory-world.js';

const actor = 'person:kim';

describe('manifests', () => {
  let world: FactoryWorld;
  beforeAll(async () => {
    world = await startFactoryWorld();
  });
  afterAll(async () => {
    await world.close();
  });

  const submit = (jws: string, dryRun = false) => world.factory.submitManifest({ jws, dryRun });
  const refusal = async (fields: Record<string, unknown>): Promise<FemtoError> => {
    const jws = await world.signManifest(fields);
    return submit(jws).then(
      () => {
        throw new Error('was taken');
      },
      (error: FemtoError) => error,
    );
  };
  const batches = async () => (await world.db.pool.query('SELECT count(*)::int AS n FROM batch')).rows[0].n as number;

  test('a good manifest is kept as submitted, and its units exist from acceptance on', async () => {
    const rows = [manifestRow(1), { ...manifestRow(2), vendorSpkiSha256: 'cd'.repeat(32) }];
    const report = await submit(await world.signManifest({ batch: 'good', units: rows }));
    expect(report).toMatchObject({ maker: MAKER, batch: 'good', rows: 2, faults: [], dryRun: false });
    const find = (serialNumber: string) => world.registry.unitBySerialNumber(world.transactor.read, serialNumber);
    expect(await find('SHB-T-000001')).toBeNull();
    const batch = await world.factory.acceptManifest({ batchId: report.batchId ?? 0, actor });
    expect(batch).toMatchObject({ state: 'open', name: 'good' });
    expect(await find('SHB-T-000001')).toMatchObject({
      state: 'MANIFESTED',
      fqdn: fqdnOf(manifestRow(1)),
      model: 'FC-200',
    });
    expect(await find('SHB-T-000002')).toMatchObject({ state: 'BOOTSTRAPPED', vendorSpkiHash: Buffer.alloc(32, 0xcd) });
    expect(await find('shb-t-000001')).toBeNull();
    expect((await world.entries('unit.manifested')).map(({ subject }) => subject)).toEqual([
      'unit:SHB-T-000001',
      'unit:SHB-T-000002',
    ]);
    await expect(world.factory.acceptManifest({ batchId: report.batchId ?? 0, actor })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      facts: { state: 'open' },
    });
  });

  test('a dry run names every fault and keeps nothing', async () => {
    const before = await batches();
    const units = [
      manifestRow(900),
      { ...manifestRow(901), serialNumber: 'shb-lower' },
      { ...manifestRow(902), eui: '0299' },
    ];
    const report = await submit(await world.signManifest({ units }), true);
    expect(report).toMatchObject({ rows: 3, faultCount: 2, batchId: null, dryRun: true });
    expect(report.faults[0]).toMatch(/^row 2: serialNumber/);
    expect(report.faults[1]).toMatch(/^row 3: eui/);
    expect(await batches()).toBe(before);
  });

  test.each([
    ['lower case', 'SHB-t-000003'],
    ['a space', 'SHB T 000003'],
    ['a look-alike letter', 'SHB-Т-000003'],
    ['10,000 characters', 'S'.repeat(10_000)],
    ['a formula', '=HYPERLINK("http://x")'],
    ['a plus formula', '+A1'],
    ['a tag', '<SCRIPT>'],
    ['15 digits', '352099001761481'],
    ['15 digits in groups', '35-209900-176148-1'],
    ['a control character', 'SHB-\u0007-003'],
    ['nothing', ''],
  ])('a serial number with %s refuses the whole file and names the row', async (_, serialNumber) => {
    const before = await batches();
    const error = await refusal({ units: [manifestRow(3), { ...manifestRow(4), serialNumber }] });
    expect(error).toMatchObject({ code: 'BAD_REQUEST', facts: { status: 422 } });
    expect(error.facts['errors']).toEqual([expect.stringMatching(/^row 2: serialNumber/)]);
    expect(JSON.stringify(error.facts)).not.toContain(serialNumber || 'never');
    expect(await batches()).toBe(before);
  });

  test.each([
    ['hardwareId with a formula', { hardwareId: '@SUM(A1)' }, 'hardwareId'],
    ['hardwareId with a tag', { hardwareId: 'x<img src=x>' }, 'hardwareId'],
    ['productClass with a formula', { productClass: '-1+1' }, 'productClass'],
    ['an EUI outside the maker’s ranges', { eui: '021200000001' }, 'eui is outside'],
    ['an EUI of another maker', { eui: '020000000001' }, 'eui is outside'],
    ['an EUI that names a group', { eui: '031100000001' }, 'eui is a group address'],
    ['a vendor key hash that is none', { vendorSpkiSha256: 'zz' }, 'vendorSpkiSha256'],
    ['an unknown member', { imsi: '1' }, 'has an unknown member'],
    ['a number for a text', { hardwareId: 7 }, 'hardwareId'],
  ])('%s is named by row', async (_, change, fault) => {
    const error = await refusal({ units: [{ ...manifestRow(5), ...change }] });
    expect(error.facts['errors']).toEqual([expect.stringContaining(`row 1: ${fault}`)]);
  });

  test('duplicates inside the file are named with the row they repeat', async () => {
    const units = [
      manifestRow(10),
      manifestRow(11),
      { ...manifestRow(12), serialNumber: manifestRow(10).serialNumber },
      { ...manifestRow(13), eui: manifestRow(11).eui.toUpperCase() },
      { ...manifestRow(14), vendorSpkiSha256: 'aa'.repeat(32) },
      { ...manifestRow(15), vendorSpkiSha256: 'aa'.repeat(32) },
    ];
    const error = await refusal({ units });
    expect(error.facts['errors']).toEqual([
      'row 3: serialNumber is that of row 1',
      'row 4: eui is that of row 2',
      'row 6: vendorSpkiSha256 is that of row 5',
    ]);
  });

  describe('the key of a vendor certificate', () => {
    const named = (n: number, key: { spki: { spkiHash: Buffer } }) => ({
      ...manifestRow(n),
      vendorSpkiSha256: key.spki.spkiHash.toString('hex'),
    });
    const enter = async (units: readonly object[]) => {
      const { batchId } = await submit(await world.signManifest({ units }));
      await world.factory.acceptManifest({ batchId: batchId ?? 0, actor });
    };
    const unitOf = async (n: number) => {
      const unit = await world.registry.unitBySerialNumber(world.transactor.read, manifestRow(n).serialNumber);
      if (unit === null) throw new Error('no such unit');
      return unit;
    };
    const certify = async (n: number, { spki }: Pick<ReturnType<FactoryWorld['newKey']>, 'spki'>) => {
      const { id, fqdn, revocationEpoch } = await unitOf(n);
      return world.issuance.issue({
        purpose: 'bootstrap',
        unitId: id,
        machineId: null,
        commonName: fqdn,
        sanDns: fqdn,
        spki,
        lifeSeconds: 86_400,
        revocationEpoch,
        successor: null,
        actor,
      });
    };

    test('belongs to one unit: another row that names it, or a key that was seen before, is a fault', async () => {
      const key = world.newKey();
      await enter([named(80, key), manifestRow(81)]);
      const certified = world.newKey();
      await certify(81, certified);
      const station = await world.addStation('station-of-keys');
      const error = await refusal({
        units: [
          named(82, key),
          manifestRow(83),
          named(84, certified),
          { ...manifestRow(85), vendorSpkiSha256: station.spkiHash.toString('hex') },
        ],
      });
      expect(error.facts['errors']).toEqual([
        'row 1: vendorSpkiSha256 is registered already',
        'row 3: vendorSpkiSha256 is registered already',
        'row 4: vendorSpkiSha256 is registered already',
      ]);
      const unit = await world.registry.unitByVendorKey(world.transactor.read, key.spki.spkiHash);
      expect(unit?.serialNumber).toBe(manifestRow(80).serialNumber);
    });

    test('is seen from acceptance on: neither another unit nor its own gets a certificate of ours for it', async () => {
      const key = world.newKey();
      await enter([named(90, key), manifestRow(91)]);
      await expect(certify(91, key)).rejects.toMatchObject({ code: 'KEY_IN_USE' });
      await expect(certify(90, key)).rejects.toMatchObject({ code: 'KEY_IN_USE' });
      await expect(certify(90, world.newKey())).resolves.toBeDefined();
    });

    test('that was seen between submission and acceptance stops the whole batch', async () => {
      const key = world.newKey();
      await enter([manifestRow(95)]);
      const { batchId } = await submit(await world.signManifest({ units: [named(96, key), manifestRow(97)] }));
      await certify(95, key);
      await expect(world.factory.acceptManifest({ batchId: batchId ?? 0, actor })).rejects.toMatchObject({
        code: 'STATE_CONFLICT',
        facts: { errors: ['row 1: vendorSpkiSha256 is registered already'] },
      });
      await expect(unitOf(97)).rejects.toThrow('no such unit');
    });
  });

  test('rows that are registered already are named, whoever has them', async () => {
    const error = await refusal({ units: [manifestRow(20), manifestRow(1)] });
    expect(error.facts['errors']).toEqual([
      'row 2: serialNumber is registered already',
      'row 2: eui is registered already',
      'row 2: hardwareId is registered already',
    ]);
  });

  test('a replayed manifest, a spent nonce, a used batch name and an old manifest are refused', async () => {
    const nonce = 'n'.repeat(20);
    const jws = await world.signManifest({ batch: 'replay', nonce, units: [manifestRow(30)] });
    await submit(jws);
    await expect(submit(jws)).rejects.toMatchObject({ code: 'BAD_REQUEST', facts: { status: 422 } });
    expect(await refusal({ nonce, units: [manifestRow(31)] })).toMatchObject({
      message: expect.stringContaining('nonce is spent'),
    });
    expect(await refusal({ batch: 'replay', units: [manifestRow(31)] })).toMatchObject({
      message: expect.stringContaining('batch name is used'),
    });
    const old = new Date(Date.now() - 31 * 86_400_000).toISOString();
    expect(await refusal({ createdAt: old, units: [manifestRow(31)] })).toMatchObject({
      message: expect.stringContaining('older than 30 days'),
    });
  });

  describe('signatures', () => {
    const payload = () => JSON.stringify(manifestOf({ units: [manifestRow(40)] }));
    const notSigned = { code: 'BAD_REQUEST', facts: { status: 422, errors: ['manifest: signature'] } };
    const b64 = (text: string) => Buffer.from(text).toString('base64url');

    test('another key’s, and one signed by a key we do not know for a maker we do not know, get the same words', async () => {
      await expect(submit(await signManifest(payload(), world.newKey()))).rejects.toMatchObject(notSigned);
      const unknown = await signManifest(manifestOf({ maker: 'nobody' }), world.newKey());
      await expect(submit(unknown)).rejects.toMatchObject(notSigned);
    });

    test('one changed byte of the payload breaks it', async () => {
      const [header, body, signature] = (await signManifest(payload(), world.manifestKey)).split('.');
      const altered = Buffer.from(body ?? '', 'base64url')
        .toString()
        .replace('FC-200', 'FC-201');
      await expect(submit(`${header}.${b64(altered)}.${signature}`)).rejects.toMatchObject(notSigned);
    });

    test('alg none, HMAC with the public key as secret, and no signature at all are refused', async () => {
      const none = `${b64('{"alg":"none"}')}.${b64(payload())}.`;
      const head = `${b64('{"alg":"HS256"}')}.${b64(payload())}`;
      const mac = createHmac('sha256', world.manifestKey.spki.spkiDer).update(head).digest('base64url');
      for (const jws of [none, `${head}.${mac}`, payload(), '', '...', 'a.b.c', b64(payload())]) {
        await expect(submit(jws)).rejects.toMatchObject(notSigned);
      }
    });

    test('a manifest signed by one maker in another’s name is refused', async () => {
      const otherKey = world.newKey();
      await world.office.registerMaker({
        name: 'other',
        manifestKeySpki: otherKey.spki.spkiDer,
        euiPrefixes: ['0655'],
        actor,
      });
      await expect(submit(await signManifest(payload(), otherKey))).rejects.toMatchObject(notSigned);
      const { units: _, ...rest } = manifestOf();
      const hidden = JSON.stringify({ units: [{ ...manifestRow(41), maker: 'other' }], ...rest });
      await expect(submit(await signManifest(hidden, otherKey))).rejects.toMatchObject({
        facts: { errors: ['manifest: names another maker than the one that signed it'] },
      });
      const twice = payload().replace('{', '{"maker":"other",');
      await expect(submit(await signManifest(twice, otherKey))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });
  });

  test('payloads that are not of the shape are refused without a stack', async () => {
    for (const text of [
      '[]',
      'null',
      '{}',
      `{"maker":"${MAKER}"}`,
      `{"maker":"${MAKER}","units":{}}`,
      `{"maker":"${MAKER}",`,
    ]) {
      await expect(submit(await signManifest(text, world.manifestKey))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
  });

  test('5,000 rows are submitted and accepted in under 10 seconds', async () => {
    const units = Array.from({ length: 5_000 }, (_, n) => ({
      ...manifestRow(n, 'BULK'),
      eui: `0211f${n.toString(16).padStart(7, '0')}`,
    }));
    const jws = await world.signManifest({ batch: 'bulk', units });
    const started = performance.now();
    const { batchId } = await submit(jws);
    await world.factory.acceptManifest({ batchId: batchId ?? 0, actor });
    expect(performance.now() - started).toBeLessThan(10_000);
    const { rows } = await world.db.pool.query('SELECT count(*)::int AS n FROM unit WHERE batch_id = $1', [batchId]);
    expect(rows).toEqual([{ n: 5_000 }]);
  });

  test('100,001 rows are refused before any row is read', async () => {
    const error = await refusal({ units: Array.from({ length: 100_001 }, () => 0) });
    expect(error.message).toContain('more than 100000 rows');
  });

  test('between submission and acceptance a taken row stops the whole batch', async () => {
    const first = await submit(
      await world.signManifest({ batch: 'late-1', units: [manifestRow(60), manifestRow(61)] }),
    );
    const second = await submit(
      await world.signManifest({ batch: 'late-2', units: [manifestRow(61), manifestRow(62)] }),
    );
    await world.factory.acceptManifest({ batchId: first.batchId ?? 0, actor });
    await expect(world.factory.acceptManifest({ batchId: second.batchId ?? 0, actor })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    expect(await world.registry.unitBySerialNumber(world.transactor.read, manifestRow(62).serialNumber)).toBeNull();
  });

  test('a manifest altered in the database is not accepted', async () => {
    const { batchId } = await submit(await world.signManifest({ batch: 'altered', units: [manifestRow(70)] }));
    const other = await world.signManifest({ batch: 'altered', units: [manifestRow(71)] });
    await world.db.pool.query('UPDATE batch SET manifest_jws = $2 WHERE id = $1', [batchId, other]);
    await expect(world.factory.acceptManifest({ batchId: batchId ?? 0, actor })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });
});
