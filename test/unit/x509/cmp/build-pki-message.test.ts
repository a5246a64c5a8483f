import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { AsnConvert, BitString } from '@peculiar/asn1-schema';
import { PKIBody, PKIFreeText, PKIMessage, PKIStatusInfo } from '../../../../src/x509/cmp/cmp-schema.js';
import {
  buildPkiMessage,
  type CertIdView,
  directoryNameOf,
  FAIL_INFO,
  type FailInfo,
  INFO_TYPE,
  PKI_STATUS,
  type PkiMessage,
  type Protect,
  type ResponseBody,
  type ResponseHeader,
  readMacAlgorithm,
  readPkiMessage,
  verifySignatureProtection,
} from '../../../../src/x509/cmp/index.js';
import { statusInfoDer } from '../../../../src/x509/cmp/status-info.js';
import { sequence } from '../../../../src/x509/der.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { readSpki } from '../../../../src/x509/spki.js';
import { macOf } from '../../../support/cmp-mac.js';
import { IMPLICIT_CONFIRM, NULL_DN, pbm, spkiOf } from '../../../support/cmp-request.js';
import { openssl } from '../openssl.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const NAME = certificateName({ organization: 'Hanbit Mobile', commonName: 'enrol-server-cmp' });
const NOW = new Date('2026-03-01T10:00:00.789Z');
const { issued, root } = recordedMessages();
const certId: CertIdView = { issuerDer: NAME, serial: Buffer.from('c0ffee', 'hex') };

const header: ResponseHeader = {
  pvno: 2,
  senderDer: directoryNameOf(NAME),
  recipientDer: NULL_DN,
  messageTime: NOW,
  transactionId: Buffer.alloc(16, 1),
  senderNonce: Buffer.alloc(16, 2),
  recipNonce: Buffer.alloc(16, 3),
};
const signature: Protect = {
  kind: 'signature',
  algorithm: 'ecdsa-with-SHA384',
  senderKid: Buffer.alloc(20, 4),
  sign: (data) => sign('sha384', data, key),
};

const build = (body: ResponseBody, more: Partial<ResponseHeader> = {}, protect: Protect = signature): Buffer =>
  buildPkiMessage({ header: { ...header, ...more }, body, protect, extraCerts: [issued, root] });
const built = (...args: Parameters<typeof build>): PkiMessage => readPkiMessage(build(...args));

const BODIES: readonly [string, ResponseBody][] = [
  [
    'ip with a certificate and an anchor',
    { kind: 'ip', certReqId: 0, status: 'accepted', certificateDer: issued, caPubs: [root] },
  ],
  [
    'cp with mods, answering p10cr',
    { kind: 'cp', certReqId: -1, status: 'grantedWithMods', text: 'name from the registry', certificateDer: issued },
  ],
  ['kup that waits', { kind: 'kup', certReqId: 0, status: 'waiting' }],
  [
    'kup that refuses',
    { kind: 'kup', certReqId: 0, status: 'rejection', failInfo: 'badPOP', text: 'sign with the new key' },
  ],
  ['rp', { kind: 'rp', status: 'accepted', certId }],
  ['rp that refuses', { kind: 'rp', status: 'rejection', failInfo: 'certRevoked' }],
  ['pkiConf', { kind: 'pkiConf' }],
  [
    'genp with values',
    { kind: 'genp', items: [{ oid: INFO_TYPE.caCerts, valueDer: sequence(root) }, { oid: INFO_TYPE.currentCrl }] },
  ],
  ['error', { kind: 'error', status: 'rejection', failInfo: 'transactionIdInUse', text: 'use a new transactionID' }],
  ['error that waits', { kind: 'error', status: 'waiting' }],
  ['pollRep', { kind: 'pollRep', certReqId: 0, checkAfterSeconds: 60 }],
];

describe('building an answer, RFC 9810 section 5.1', () => {
  test.each(BODIES)(
    '%s: the schema writes the same bytes, openssl walks them, our reader finds what went in',
    (_, body) => {
      const der = build(body);
      expect(Buffer.from(AsnConvert.serialize(AsnConvert.parse(der, PKIMessage))).equals(der)).toBe(true);
      expect(openssl(['asn1parse', '-inform', 'DER', '-in', 'm.der'], { 'm.der': der })).toContain('cont [ 1 ]');
      const message = readPkiMessage(der);
      expect(message).toMatchObject({
        pvno: 2,
        sender: { nameDer: NAME },
        recipientDer: NULL_DN,
        messageTime: new Date('2026-03-01T10:00:00Z'),
        transactionId: header.transactionId,
        senderNonce: header.senderNonce,
        recipNonce: header.recipNonce,
        senderKid: Buffer.alloc(20, 4),
        extraCerts: [issued, root],
      });
      expect(verifySignatureProtection(message, readSpki(spkiOf(key)))).toBe(true);
      expect(message.body).toMatchObject(expectedView(body));
    },
  );

  test('the schema, filled field by field, gives the same ip', () => {
    const status = new PKIStatusInfo();
    status.status = 2n;
    status.statusString = new PKIFreeText(['sign with the new key']);
    status.failInfo = new BitString(1 << FAIL_INFO.badPOP);
    const der = Buffer.from(AsnConvert.serialize(status));
    expect(statusInfoDer('rejection', 'sign with the new key', 'badPOP').equals(der)).toBe(true);
  });

  test('implicit confirmation granted, or a time to wait, or neither', () => {
    const body: ResponseBody = { kind: 'ip', certReqId: 0, status: 'accepted', certificateDer: issued };
    expect(built(body).asksImplicitConfirm).toBe(false);
    const granted = built(body, { implicitConfirm: true, confirmWaitSeconds: 600 });
    expect(granted.asksImplicitConfirm).toBe(true);
    expect(granted.headerDer.includes(IMPLICIT_CONFIRM)).toBe(true);
    expect(granted.headerDer.includes('20260301101000Z')).toBe(false);
    expect(built(body, { confirmWaitSeconds: 600 }).headerDer.includes('20260301101000Z')).toBe(true);
  });

  test("pvno is the request's; an unreadable request gets an answer without its numbers", () => {
    const message = readPkiMessage(
      buildPkiMessage({
        header: {
          pvno: 3,
          senderDer: directoryNameOf(NAME),
          recipientDer: NULL_DN,
          messageTime: NOW,
          senderNonce: Buffer.alloc(16),
        },
        body: { kind: 'error', status: 'rejection', failInfo: 'badDataFormat' },
        protect: signature,
        extraCerts: [],
      }),
    );
    expect(message.pvno).toBe(3);
    expect(message.transactionId).toBeUndefined();
    expect(message.recipNonce).toBeUndefined();
    expect(message.extraCerts).toEqual([]);
  });

  test("under a MAC the answer carries the request's algorithm and reference", () => {
    const algorithm = readMacAlgorithm(pbm());
    const secret = Buffer.from('one-time');
    const message = built(
      { kind: 'pkiConf' },
      {},
      {
        kind: 'mac',
        algorithmDer: algorithm.der,
        senderKid: Buffer.from('ref'),
        mac: (data) => macOf(algorithm, secret, data),
      },
    );
    expect(message.protectionAlgDer).toEqual(algorithm.der);
    expect(message.senderKid?.toString()).toBe('ref');
    expect(message.protection).toEqual(macOf(algorithm, secret, message.protectedDer));
  });
});

describe('PKIStatusInfo and failInfo, RFC 9810 section 5.2.3', () => {
  test.each<[FailInfo, string]>([
    ['badAlg', '300702010203020780'],
    ['badPOP', '30080201020303060040'],
    ['certRevoked', '30080201020303050020'],
    ['notAuthorized', '300902010203040000' + '0001'],
    ['duplicateCertReq', '300a0201020305050000' + '0020'],
  ])('rejection with %s is %s', (failInfo, hex) => {
    expect(statusInfoDer('rejection', undefined, failInfo).toString('hex')).toBe(hex);
  });

  test.each(Object.keys(FAIL_INFO) as FailInfo[])(
    '%s comes back as itself, and the schema counts the same bit',
    (failInfo) => {
      const { body } = built({ kind: 'error', status: 'rejection', failInfo });
      expect(body).toEqual({ kind: 'error', status: { status: 'rejection', text: [], failInfo: [failInfo] } });
      const bits = new BitString(1 << FAIL_INFO[failInfo]);
      const status = Object.assign(new PKIStatusInfo(), { status: 2n, failInfo: bits });
      expect(Buffer.from(AsnConvert.serialize(status)).equals(statusInfoDer('rejection', undefined, failInfo))).toBe(
        true,
      );
    },
  );

  test.each(Object.keys(PKI_STATUS) as (keyof typeof PKI_STATUS)[])('status %s comes back as itself', (status) => {
    expect(built({ kind: 'error', status }).body).toMatchObject({ status: { status } });
  });

  test('pkiConf is b3 02 05 00, implicitConfirm and NULL-DN as in every other implementation', () => {
    expect(built({ kind: 'pkiConf' }).bodyDer.toString('hex')).toBe('b3020500');
    expect(Buffer.from(AsnConvert.serialize(Object.assign(new PKIBody(), { pkiconf: null }))).toString('hex')).toBe(
      'b3020500',
    );
    expect(IMPLICIT_CONFIRM.toString('hex')).toBe('300c06082b0601050507040d0500');
    expect(directoryNameOf(sequence()).toString('hex')).toBe('a4023000');
  });
});

function expectedView(body: ResponseBody): object {
  switch (body.kind) {
    case 'ip':
    case 'cp':
    case 'kup':
      return {
        kind: body.kind,
        caPubs: body.caPubs ?? [],
        responses: [
          {
            certReqId: body.certReqId,
            status: statusView(body),
            ...(body.certificateDer === undefined ? {} : { certificateDer: body.certificateDer }),
          },
        ],
      };
    case 'rp':
      return { kind: 'rp', statuses: [statusView(body)], revCerts: body.certId === undefined ? [] : [body.certId] };
    case 'error':
      return { kind: 'error', status: statusView(body) };
    case 'pollRep':
      return { kind: 'pollRep', polls: [{ certReqId: body.certReqId, checkAfterSeconds: body.checkAfterSeconds }] };
    default:
      return body;
  }
}

function statusView({ status, text, failInfo }: { status: string; text?: string; failInfo?: string }): object {
  return { status, text: text === undefined ? [] : [text], failInfo: failInfo === undefined ? [] : [failInfo] };
}
