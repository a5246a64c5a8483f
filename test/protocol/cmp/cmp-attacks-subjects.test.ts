/**
 * A CertReqMsg proves its key and nothing about who sends it. Whoever sees one on the wire may put it into a message of his own;
 * the subject that it is signed with is what keeps the key from being taken.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { oid, sequence, set, utf8String } from '../../../src/x509/der.js';
import { certificateName } from '../../../src/x509/distinguished-name.js';
import { OID } from '../../../src/x509/oids.js';
import { requestBody } from '../../support/cmp-request.js';
import { type Holder, holderOf, type Talk, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import { runClient } from '../../support/command.js';
import type { WorldUnit } from '../../support/device-world.js';

let cmp: CmpWorld;
let talk: Talk;
let thief: Holder;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
  thief = holderOf((await cmp.activeUnit()).op);
});
afterAll(() => cmp.close());

const named = (...attributes: readonly [string, string][]): Buffer =>
  sequence(...attributes.map(([type, value]) => set(sequence(oid(type), utf8String(value)))));

const SUBJECTS: readonly [string, (unit: WorldUnit, bootstrap: Holder) => Buffer][] = [
  ['the unit’s host name', ({ fqdn }) => named([OID.commonName, fqdn])],
  ['the host name in capitals', ({ fqdn }) => named([OID.commonName, fqdn.toUpperCase()])],
  ['its serial number as CN', ({ serialNumber }) => named([OID.commonName, serialNumber])],
  ['its serial number as serialNumber', ({ serialNumber }) => named([OID.serialNumber, serialNumber])],
  [
    'both, and the maker',
    ({ fqdn, serialNumber }) =>
      named([OID.organization, 'Garam'], [OID.commonName, fqdn], [OID.serialNumber, serialNumber]),
  ],
  ['the subject of its certificate', (_unit, { subjectDer }) => subjectDer],
];

describe.each(SUBJECTS)('with %s as subject', (_name, subjectOf) => {
  test('another unit is refused with it, and the unit itself is served', async () => {
    const unit = await cmp.world.addUnit();
    await cmp.order(unit);
    const bootstrap = holderOf(cmp.bootstrapOf(unit));
    const request = wish({ subjectDer: subjectOf(unit, bootstrap) });
    for (const body of [requestBody.kur(request), requestBody.cr(request)]) {
      expect((await talk.send(talk.message(thief, body))).said).toMatch(/^(kup|cp) rejection badCertTemplate$/);
    }
    expect((await talk.send(talk.message(bootstrap, requestBody.ir(request)))).said).toMatch(/^ip (accepted|granted)/);
  });
});

describe('a subject that is nobody’s', () => {
  test.each<[string, (unit: WorldUnit) => Buffer]>([
    ['a word', () => named([OID.commonName, 'femtocell'])],
    ['a maker alone', () => named([OID.organization, 'Garam'])],
    [
      'the unit’s name and another serial number',
      ({ fqdn }) => named([OID.commonName, fqdn], [OID.serialNumber, 'X-1']),
    ],
    ['its name with more letters', ({ fqdn }) => named([OID.commonName, `x${fqdn}`])],
    ['the operator’s name around it', () => certificateName({ organization: 'Hanbit Mobile', commonName: 'unit' })],
  ])('%s is refused', async (_name, subjectOf) => {
    const { unit, op } = await cmp.activeUnit();
    const request = wish({ subjectDer: subjectOf(unit) });
    const { said } = await talk.send(talk.message(holderOf(op), requestBody.kur(request)));
    expect(said).toBe('kup rejection badCertTemplate');
    expect(await cmp.world.ledger(unit, 'request.refused')).toEqual([expect.objectContaining({ code: 'ID_MISMATCH' })]);
  });

  test('in p10cr it is refused likewise; none is as good as before', async () => {
    const { op } = await cmp.activeUnit();
    const [key, stolen] = [await cmp.newKey(), cmp.file('stolen.csr')];
    const csr = async (subject: string): Promise<string> => {
      await runClient('openssl', ['req', '-new', '-key', key, '-subj', subject, '-out', stolen]);
      return stolen;
    };
    const other = await cmp.world.addUnit();
    const refused = await cmp.openssl('p10cr', { as: op, flags: ['-csr', await csr(`/CN=${other.serialNumber}`)] });
    expect(refused.text).toContain('badCertTemplate');
    const none = await cmp.openssl('p10cr', { as: op, flags: ['-csr', await csr('/')] });
    expect(none).toMatchObject({ code: 0, hasCertificate: true });
  });
});
