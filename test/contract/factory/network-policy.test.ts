import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { FactoryCaller } from '../../../src/lifecycle/factory/index.js';
import type { NetworkPolicyDocument } from '../../../src/lifecycle/registry/index.js';
import { activatePolicy } from '../../support/active-policy.js';
import { type FactoryWorld, MAKER, manifestRow, requestFor, startFactoryWorld } from '../../support/factory-world.js';

const HERE = '192.0.2.10';
const UNITS = [1, 2, 3, 4, 5].map((n) => manifestRow(n, 'NET'));

describe('the network policy at a factory (NET-1, NET-3)', () => {
  let world: FactoryWorld;
  let station: FactoryCaller;

  beforeAll(async () => {
    world = await startFactoryWorld();
    const { certificateDer } = await world.addStation('station-1');
    station = await world.factory.stationCaller({ certificateDer });
    const report = await world.factory.submitManifest({
      jws: await world.signManifest({ batch: 'net-1', units: UNITS }),
      dryRun: false,
    });
    await world.factory.acceptManifest({ batchId: report.batchId ?? 0, actor: 'person:kim' });
    await world.factory.createCredential({
      name: 'cred-net',
      makerName: MAKER,
      batchName: 'net-1',
      site: 'Gumi 2',
      stationName: 'station-1',
      cidrs: ['192.0.2.0/24'],
      actor: 'person:kim',
    });
  });
  beforeEach(() => activatePolicy(world.db, null));
  afterAll(() => world.close());

  const rules = (...list: NetworkPolicyDocument['rules']): NetworkPolicyDocument => ({ rules: list });
  const enrol = (n: number) => {
    const { serialNumber } = manifestRow(n, 'NET');
    return world.factory.enrol({ caller: station, address: HERE, serialNumber, csr: requestFor(serialNumber).csrPem });
  };

  test.each([
    ['a prefix that is denied', rules({ name: 'no', action: 'deny', cidr: '192.0.2.0/24' }), 'NET_CIDR'],
    [
      'a prefix where units may only be repaired',
      rules({ name: 'r', action: 'restrict', cidr: '192.0.2.0/24' }),
      'NET_CIDR',
    ],
    ['a rule about countries and no database', rules({ name: 'zz', action: 'deny', country: 'ZZ' }), 'NET_UNKNOWN'],
    [
      'a rule about networks and no database',
      rules({ name: 'rival', action: 'deny', asn: 64_500, batch: 'net-1' }),
      'NET_UNKNOWN',
    ],
  ])('%s: refused, and the unit stays as it was', async (_, document, code) => {
    await activatePolicy(world.db, document);
    await expect(enrol(1)).rejects.toMatchObject({ code, facts: { event: 'enrolment', reasons: [code] } });
    const unit = await world.registry.unitBySerialNumber(world.transactor.read, manifestRow(1, 'NET').serialNumber);
    expect(unit?.state).toBe('MANIFESTED');
  });

  test.each([
    [2, 'no policy', null],
    [3, 'a rule for another batch', rules({ name: 'other', action: 'deny', cidr: '0.0.0.0/0', batch: 'net-2' })],
    [
      4,
      'a rule for another event',
      rules({ name: 'later', action: 'deny', cidr: '0.0.0.0/0', events: ['renewal', 'ike'] }),
    ],
    [
      5,
      'a policy that lets in what it cannot place',
      { ...rules({ name: 'zz', action: 'deny', country: 'ZZ' }), whenUnknown: { enrolment: 'allow' } } as const,
    ],
  ])('unit %i, %s: enrolled', async (n, _, document) => {
    await activatePolicy(world.db, document);
    expect(await enrol(n)).toMatchObject({ repeated: false });
  });
});
