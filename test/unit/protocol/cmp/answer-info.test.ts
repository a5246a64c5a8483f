import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { Issuer } from '../../../../src/lifecycle/model/index.js';
import type { RootSuccession } from '../../../../src/lifecycle/registry/index.js';
import { answerInfo } from '../../../../src/protocol/cmp/answer-info.js';
import type { CmpDeps, PublishedCrl } from '../../../../src/protocol/cmp/cmp-deps.js';
import type { ProvedMessage } from '../../../../src/protocol/cmp/exchange.js';
import { INFO_TYPE, type InfoItem, readPkiMessage } from '../../../../src/x509/cmp/index.js';
import { explicitTag, generalizedTime, sequence, tlv } from '../../../../src/x509/der.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { cmpRequest, requestBody } from '../../../support/cmp-request.js';

const SUBJECT = certificateName({ organization: 'Hanbit Mobile', commonName: 'Device CA 1' });
const CRL_DER = Buffer.from('3003020101', 'hex');
const CRL: PublishedCrl = {
  thisUpdate: new Date('2026-11-01T00:00:00Z'),
  bytes: CRL_DER.length,
  der: async () => CRL_DER,
};
const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const issuer = (id: number, kind: Issuer['kind'], certificateHex: string): Issuer =>
  ({
    id,
    kind,
    label: `${kind}-${id}`,
    state: 'active',
    subjectDer: SUBJECT,
    certificateDer: Buffer.from(certificateHex, 'hex'),
  }) as Issuer;
const ISSUERS = [
  issuer(1, 'root-access', '3003020101'),
  issuer(2, 'device-ca', '3003020102'),
  issuer(3, 'bootstrap-ca', '3003020103'),
  issuer(4, 'services-ca', '3003020104'),
];

/** What is answered to one genm of a unit whose certificate came from CA `issuerId`; null: from a vendor. */
async function ask(
  items: readonly InfoItem[],
  {
    issuerId = 2 as number | null,
    crl = CRL as PublishedCrl | null,
    successions = [] as readonly RootSuccession[],
  } = {},
) {
  const asked: number[] = [];
  const deps = {
    issuers: { all: async () => ISSUERS, successions: async () => successions },
    crlOf: async (id: number) => {
      asked.push(id);
      return crl;
    },
  } as unknown as CmpDeps;
  const der = cmpRequest({ body: requestBody.genm(...items), protect: { kind: 'signature', key } });
  const credential = { issuer: issuerId === null ? null : { id: issuerId } };
  const wish = { message: readPkiMessage(der), sender: { kind: 'signature', credential } } as unknown as ProvedMessage;
  const body = await answerInfo(deps, wish);
  if (body.kind !== 'genp') throw new Error('not a genp');
  return { items: body.items, asked };
}

const status = (source: Buffer, thisUpdate?: Date): Buffer =>
  sequence(sequence(source, ...(thisUpdate === undefined ? [] : [generalizedTime(thisUpdate)])));
const byIssuer = explicitTag(1, sequence(explicitTag(4, SUBJECT)));
const byUrl = (url: string): Buffer => explicitTag(0, explicitTag(0, tlv(0x86, Buffer.from(url))));

describe('genm (RFC 9483 section 4.3)', () => {
  test('caCerts: the CAs between roots and leaves, no root, not the Bootstrap CA', async () => {
    const { items } = await ask([{ oid: INFO_TYPE.caCerts }]);
    expect(items).toEqual([{ oid: INFO_TYPE.caCerts, valueDer: Buffer.from('300a30030201023003020104', 'hex') }]);
  });

  test('rootCaCert: no root here has a successor', async () => {
    const { items } = await ask([{ oid: INFO_TYPE.rootCaCert, valueDer: Buffer.from('3003020101', 'hex') }]);
    expect(items).toEqual([{ oid: INFO_TYPE.rootCaKeyUpdate }]);
  });

  test('rootCaCert: the root that follows the one that is named, or the first, signed by it; nothing for a stranger', async () => {
    const [oldWithNew, newWithOld] = ['3003020108', '3003020109'].map((hex) => Buffer.from(hex, 'hex'));
    const link = { successorId: 4, predecessorId: 1, newWithOld, oldWithNew } as RootSuccession;
    const valueDer = Buffer.from('30193003020104a0053003020109a1053003020108', 'hex');
    valueDer[1] = valueDer.length - 2;
    for (const named of [Buffer.from('3003020101', 'hex'), undefined]) {
      const { items } = await ask(
        [{ oid: INFO_TYPE.rootCaCert, ...(named === undefined ? {} : { valueDer: named }) }],
        { successions: [link] },
      );
      expect(items).toEqual([{ oid: INFO_TYPE.rootCaKeyUpdate, valueDer }]);
    }
    const stranger = [{ oid: INFO_TYPE.rootCaCert, valueDer: Buffer.from('3003020177', 'hex') }];
    expect((await ask(stranger, { successions: [link] })).items).toEqual([{ oid: INFO_TYPE.rootCaKeyUpdate }]);
  });

  test('signKeyPairTypes and certReqTemplate: EC on P-256 or P-384', async () => {
    const types = '301306072a8648ce3d020106082a8648ce3d030107301006072a8648ce3d020106052b81040022';
    const { items } = await ask([{ oid: INFO_TYPE.signKeyPairTypes }]);
    expect(items[0]?.valueDer?.toString('hex')).toBe(`3027${types}`);
    const template = await ask([{ oid: INFO_TYPE.certReqTemplate }]);
    expect(template.items[0]?.oid).toBe(INFO_TYPE.certReqTemplate);
    expect(template.items[0]?.valueDer?.toString('hex')).toContain('2a8648ce3d030107');
  });

  test('currentCRL: of the CA that issued the caller’s certificate; for a vendor’s, of the Device CA', async () => {
    expect(await ask([{ oid: INFO_TYPE.currentCrl }], { issuerId: 3 })).toEqual({
      items: [{ oid: INFO_TYPE.currentCrl, valueDer: CRL_DER }],
      asked: [3],
    });
    expect((await ask([{ oid: INFO_TYPE.currentCrl }], { issuerId: null })).asked).toEqual([2]);
    expect((await ask([{ oid: INFO_TYPE.currentCrl }], { crl: null })).items).toEqual([{ oid: INFO_TYPE.currentCrl }]);
  });

  test.each<[string, Buffer, boolean]>([
    ['by issuer, none held', status(byIssuer), true],
    ['by issuer, an older one held', status(byIssuer, new Date('2026-10-31T00:00:00Z')), true],
    ['by issuer, the same held', status(byIssuer, CRL.thisUpdate), false],
    ['by distribution point', status(byUrl('http://crl.hanbit.example/crl/device-ca-2.crl')), true],
    ['by a point of nobody', status(byUrl('http://crl.hanbit.example/crl/other.crl')), false],
  ])('crlStatusList %s', async (_name, valueDer, isNews) => {
    const { items } = await ask([{ oid: INFO_TYPE.crlStatusList, valueDer }]);
    expect(items).toEqual([{ oid: INFO_TYPE.crls, ...(isNews ? { valueDer: sequence(CRL_DER) } : {}) }]);
  });

  test('a CRL of more than a megabyte is not read for an answer: the fault says where it lies', async () => {
    const crl: PublishedCrl = { ...CRL, bytes: 1_048_577, der: () => Promise.reject(new Error('was read')) };
    const fault = {
      failInfo: 'badRequest',
      text: expect.stringContaining('fetch it from the address in your certificate'),
    };
    await expect(ask([{ oid: INFO_TYPE.currentCrl }], { crl })).rejects.toMatchObject(fault);
    const newer = { oid: INFO_TYPE.crlStatusList, valueDer: status(byIssuer) };
    await expect(ask([newer], { crl })).rejects.toMatchObject(fault);
    const held = { oid: INFO_TYPE.crlStatusList, valueDer: status(byIssuer, CRL.thisUpdate) };
    expect((await ask([held], { crl })).items).toEqual([{ oid: INFO_TYPE.crls }]);
  });

  test('nothing asked is answered with nothing: somebody looked whether we are there', async () => {
    expect((await ask([])).items).toEqual([]);
  });

  test.each<[string, readonly InfoItem[]]>([
    ['two questions', [{ oid: INFO_TYPE.caCerts }, { oid: INFO_TYPE.caCerts }]],
    ['an unknown one', [{ oid: '1.3.6.1.5.5.7.4.99' }]],
    ['crlStatusList about nothing', [{ oid: INFO_TYPE.crlStatusList }]],
    [
      'crlStatusList about two',
      [{ oid: INFO_TYPE.crlStatusList, valueDer: sequence(sequence(byIssuer), sequence(byIssuer)) }],
    ],
  ])('%s: badRequest', async (_name, items) => {
    await expect(ask(items)).rejects.toMatchObject({ failInfo: 'badRequest' });
  });
});
