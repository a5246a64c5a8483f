import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { AsnConvert } from '@peculiar/asn1-schema';
import fc from 'fast-check';
import { FemtoError } from '../../../../src/platform/errors.js';
import { PKIMessage } from '../../../../src/x509/cmp/cmp-schema.js';
import { CmpFault } from '../../../../src/x509/cmp/index.js';
import { integer, sequence } from '../../../../src/x509/der.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { extension } from '../../../../src/x509/extension.js';
import { dnsName } from '../../../../src/x509/general-name.js';
import { OID } from '../../../../src/x509/oids.js';
import {
  certProfile,
  certReqMsg,
  cmpRequest,
  IMPLICIT_CONFIRM,
  oldCertId,
  regToken,
  requestBody,
} from '../../../support/cmp-request.js';
import { openssl } from '../openssl.js';
import { isWrittenBack, readByHand, readBySchema } from './both-readings.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: caller } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { privateKey: fresh } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const NAME = certificateName({ organization: 'Hanbit Mobile', commonName: 'Demo' });
const SAN = extension(OID.subjectAltName, true, sequence(dnsName('0012ab345678.femto.hanbit.example')));

describe('the schema and the hot readers say the same', () => {
  const { messages } = recordedMessages();

  test.each([...messages.keys()])('openssl %s: the schema writes it back byte for byte', (name) => {
    const der = messages.get(name) ?? Buffer.alloc(0);
    expect(Buffer.from(AsnConvert.serialize(AsnConvert.parse(der, PKIMessage))).equals(der)).toBe(true);
    expect(readByHand(der)).toEqual(readBySchema(der));
  });

  test('every body kind of our traffic was recorded', () => {
    const kinds = new Set([...messages.values()].map((der) => AsnConvert.parse(der, PKIMessage).body as object));
    const found = [...kinds].map((body) => Object.entries(body).find(([, value]) => value !== undefined)?.[0]);
    for (const kind of [
      'ir',
      'ip',
      'cr',
      'cp',
      'kur',
      'kup',
      'p10cr',
      'rr',
      'rp',
      'genm',
      'genp',
      'certConf',
      'pollReq',
      'pollRep',
    ]) {
      expect(found).toContain(kind);
    }
  });

  test('any request our builders can make is read the same way, and openssl can walk it', () => {
    const id = fc.option(fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets)));
    const header = fc.record(
      {
        pvno: fc.integer({ min: 0, max: 1_000_000 }),
        messageTime: fc.option(fc.date({ min: new Date(0), max: new Date('2080-01-01'), noInvalidDate: true })),
        senderKid: id,
        transactionId: id,
        senderNonce: id,
        recipNonce: id,
        freeText: fc.array(fc.string(), { maxLength: 3 }),
        generalInfo: fc.subarray([IMPLICIT_CONFIRM, certProfile('femto')]),
      },
      { requiredKeys: [] },
    );
    const request = fc
      .record({
        certReqId: fc.integer({ min: -1, max: 100 }),
        popo: fc.constantFrom('signature', 'poposkInput', 'raVerified', 'none', 'keyAgreement' as const),
        subject: fc.boolean(),
        wishes: fc.boolean(),
        controls: fc.subarray([regToken('1234-5678'), oldCertId(NAME, Buffer.from('80ff', 'hex'))]),
      })
      .map(({ certReqId, popo, subject, wishes, controls }) =>
        certReqMsg({
          key: fresh,
          certReqId,
          popo: popo as 'signature',
          controls,
          ...(subject ? { subjectDer: NAME } : {}),
          ...(wishes ? { extensions: [SAN] } : {}),
        }),
      );
    const body = fc.oneof(
      fc.array(request, { maxLength: 3 }).map((list) => requestBody.kur(...list)),
      fc
        .record({ certReqId: fc.integer({ min: -9, max: 9 }), status: fc.integer({ min: 0, max: 6 }) })
        .map(requestBody.certConf),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((number) => requestBody.pollReq(number)),
      fc
        .record(
          {
            issuerDer: fc.constant(NAME),
            serial: fc.constant(Buffer.from('00c3', 'hex')),
            reasonCode: fc.integer({ min: 0, max: 10 }),
          },
          { requiredKeys: [] },
        )
        .map((details) => requestBody.rr(details)),
      fc.constant(requestBody.genm({ oid: '1.3.6.1.5.5.7.4.17' }, { oid: '1.3.6.1.5.5.7.4.20', valueDer: integer(7) })),
    );
    let walked = 0;
    fc.assert(
      fc.property(header, body, (headerParts, bodyDer) => {
        const der = cmpRequest({ header: headerParts, body: bodyDer, protect: { kind: 'signature', key: caller } });
        expect(readByHand(der)).toEqual(readBySchema(der));
        if (walked < 10)
          expect(openssl(['asn1parse', '-inform', 'DER', '-in', 'm.der'], { 'm.der': der })).toContain('d=0');
        walked += 1;
      }),
      { numRuns: 150 },
    );
  });

  test('what the hot readers take out of a mutated message, the schema finds in the same place', () => {
    const all = [...messages.values()];
    let compared = 0;
    fc.assert(
      fc.property(fc.nat(all.length - 1), fc.nat(), fc.nat(255), (which, where, octet) => {
        const der = Buffer.from(all[which] ?? Buffer.alloc(1));
        der[where % der.length] = octet;
        const byHand = taken(der);
        if (byHand === undefined || !isWrittenBack(der)) return;
        compared += 1;
        expect(byHand).toEqual(readBySchema(der));
      }),
      { numRuns: 400 },
    );
    expect(compared).toBeGreaterThan(150);
  });
});

function taken(der: Buffer): unknown {
  try {
    return readByHand(der);
  } catch (thrown) {
    if (thrown instanceof CmpFault || thrown instanceof FemtoError) return undefined;
    throw thrown;
  }
}
