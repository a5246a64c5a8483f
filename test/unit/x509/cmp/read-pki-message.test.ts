import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../../../src/x509/certificate.js';
import {
  INFO_TYPE,
  type PkiMessage,
  protectionOf,
  readPkiMessage,
  verifySignatureProtection,
} from '../../../../src/x509/cmp/index.js';
import { explicitTag, integer, nullValue, oid, sequence } from '../../../../src/x509/der.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { dnsName } from '../../../../src/x509/general-name.js';
import { readSpki } from '../../../../src/x509/spki.js';
import {
  certProfile,
  cmpRequest,
  IMPLICIT_CONFIRM,
  NULL_DN,
  type RequestParts,
  requestBody,
  spkiOf,
} from '../../../support/cmp-request.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const NAME = certificateName({ organization: 'Hanbit Mobile', commonName: 'Demo' });
const GENM = requestBody.genm({ oid: INFO_TYPE.caCerts });

const message = (parts: Partial<RequestParts> = {}): Buffer =>
  cmpRequest({ body: GENM, protect: { kind: 'signature', key }, ...parts });
const read = (parts: Partial<RequestParts> = {}): PkiMessage => readPkiMessage(message(parts));

describe('reading a PKIMessage, RFC 9810 section 5.1', () => {
  const { messages, protector, issued } = recordedMessages();
  const recorded = (name: string): PkiMessage => readPkiMessage(messages.get(name) ?? Buffer.alloc(0));

  test.each([
    ['ir.request1', 'ir'],
    ['ir.request2', 'certConf'],
    ['ir.response1', 'ip'],
    ['ir.response2', 'pkiConf'],
    ['cr.request1', 'cr'],
    ['cr.response1', 'cp'],
    ['cr-polled.request2', 'pollReq'],
    ['cr-polled.response2', 'pollRep'],
    ['kur.request1', 'kur'],
    ['kur.response1', 'kup'],
    ['p10cr.request1', 'p10cr'],
    ['rr.request1', 'rr'],
    ['rr.response1', 'rp'],
    ['genm.request1', 'genm'],
    ['genm.response1', 'genp'],
  ])('openssl %s is a %s, signed by the certificate it brings', (name, kind) => {
    const found = recorded(name);
    expect(found.body.kind).toBe(kind);
    expect(protectionOf(found)).toEqual({ kind: 'signature', algorithm: 'ecdsa-with-SHA256' });
    const signer = readCertificate(protector);
    expect(verifySignatureProtection(found, signer.spki)).toBe(true);
    expect(verifySignatureProtection(found, readSpki(spkiOf(key)))).toBe(false);
    expect(found.senderKid).toEqual(signer.ski);
    expect(found.sender).toEqual({ kind: 'directoryName', nameDer: signer.subjectDer, isNull: false });
  });

  test('an ip says what was issued, a polled cp that it takes a while, an rp which certificate', () => {
    const { body } = recorded('ir.response1');
    if (body.kind !== 'ip') throw new Error(body.kind);
    expect(body.responses).toHaveLength(1);
    expect(body.responses[0]?.certificateDer?.equals(issued)).toBe(true);
    expect(body.responses[0]?.status).toEqual({ status: 'accepted', text: [], failInfo: [] });
    expect(body.caPubs).toHaveLength(1);
    expect(recorded('cr-polled.response1').body).toMatchObject({
      responses: [{ certReqId: 0, status: { status: 'waiting' } }],
    });
    expect(recorded('cr-polled.response2').body).toEqual({
      kind: 'pollRep',
      polls: [{ certReqId: 0, checkAfterSeconds: 1 }],
    });
    const { serial, issuerDer } = readCertificate(issued);
    expect(recorded('rr.request1').body).toEqual({
      kind: 'rr',
      details: [{ certId: { issuerDer, serial }, reasonCode: 4 }],
    });
    expect(recorded('rr.response1').body).toMatchObject({
      statuses: [{ status: 'accepted' }],
      revCerts: [{ issuerDer, serial }],
    });
    expect(recorded('ir-ra.response1').body).toMatchObject({
      responses: [{ status: { status: 'rejection', failInfo: ['badPOP'] } }],
    });
    expect(recorded('ir.request2').body).toMatchObject({
      statuses: [{ certReqId: 0, statusInfo: { status: 'accepted' } }],
    });
  });

  test('implicit confirmation is asked where it is asked', () => {
    expect(recorded('ir-implicit.request1').asksImplicitConfirm).toBe(true);
    expect(recorded('ir.request1').asksImplicitConfirm).toBe(false);
    expect(recorded('ir.request1').certProfile).toBeUndefined();
    expect(read({ header: { generalInfo: [IMPLICIT_CONFIRM, certProfile('femto')] } })).toMatchObject({
      asksImplicitConfirm: true,
      certProfile: 'femto',
    });
  });

  test('header fields are what was sent, and the signed bytes are the received ones', () => {
    const transactionId = Buffer.alloc(16, 7);
    const found = read({
      header: {
        pvno: 3,
        sender: explicitTag(4, NAME),
        recipient: dnsName('ca.example'),
        messageTime: new Date('2026-03-01T10:00:00Z'),
        transactionId,
        recipNonce: Buffer.alloc(16, 9),
        freeText: ['hello', 'there'],
      },
    });
    expect(found).toMatchObject({
      pvno: 3,
      sender: { kind: 'directoryName', nameDer: NAME, isNull: false },
      messageTime: new Date('2026-03-01T10:00:00Z'),
      transactionId,
      recipNonce: Buffer.alloc(16, 9),
    });
    expect(found.protectedDer).toEqual(sequence(found.headerDer, found.bodyDer));
    expect(verifySignatureProtection(found, readSpki(spkiOf(key)))).toBe(true);
  });

  test('NULL-DN is a4 02 30 00; other kinds of sender are let through unread', () => {
    expect(NULL_DN.toString('hex')).toBe('a4023000');
    expect(read().sender).toEqual({ kind: 'directoryName', nameDer: Buffer.from('3000', 'hex'), isNull: true });
    expect(read({ header: { sender: dnsName('unit.example') } }).sender).toEqual({ kind: 'other' });
  });

  test('a missing transactionID and a strange pvno are no faults of form', () => {
    expect(read({ header: { transactionId: null } }).transactionId).toBeUndefined();
    expect(read({ header: { pvno: 77 } }).pvno).toBe(77);
  });

  test.each([5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 20, 27, 30])('body %i is known by its number only', (tag) => {
    expect(read({ body: requestBody.other(tag, sequence(integer(1))) }).body).toEqual({ kind: 'other', tag });
  });

  test('protection is none, or whole', () => {
    expect(protectionOf(read({ protect: { kind: 'none' } }))).toEqual({ kind: 'none' });
    const headless = read({ header: { protectionAlg: null } });
    const bodiless = read({
      protect: { kind: 'none' },
      header: { protectionAlg: sequence(oid('1.2.840.10045.4.3.2')) },
    });
    for (const half of [headless, bodiless]) {
      expect(() => protectionOf(half)).toThrow(expect.objectContaining({ failInfo: 'badMessageCheck' }));
      expect(verifySignatureProtection(half, readSpki(spkiOf(key)))).toBe(false);
    }
    const ed25519 = read({ header: { protectionAlg: sequence(oid('1.3.101.112')) } });
    expect(() => protectionOf(ed25519)).toThrow(expect.objectContaining({ failInfo: 'badAlg' }));
    const sha1 = read({ header: { protectionAlg: sequence(oid('1.2.840.10045.4.1')) } });
    expect(() => protectionOf(sha1)).toThrow(expect.objectContaining({ failInfo: 'badAlg' }));
  });

  test('one bent bit of protection, header or body, and nothing verifies', () => {
    const spki = readSpki(spkiOf(key));
    const bent = read({
      bendProtection: (bits) => Buffer.from(bits.map((octet, at) => (at === 9 ? octet ^ 1 : octet))),
    });
    expect(verifySignatureProtection(bent, spki)).toBe(false);
    const der = message({ header: { senderNonce: Buffer.alloc(16, 1) } });
    const at = der.indexOf(Buffer.alloc(16, 1));
    der[at] = 2;
    expect(verifySignatureProtection(readPkiMessage(der), spki)).toBe(false);
  });

  test('ECDSA with NULL parameters, as older clients write it, is ECDSA; with any other it is badAlg', () => {
    const written = (parameters: Buffer): PkiMessage =>
      read({ header: { protectionAlg: sequence(oid('1.2.840.10045.4.3.2'), parameters) } });
    expect(protectionOf(written(nullValue()))).toEqual({ kind: 'signature', algorithm: 'ecdsa-with-SHA256' });
    expect(verifySignatureProtection(written(nullValue()), readSpki(spkiOf(key)))).toBe(true);
    for (const parameters of [integer(0), sequence(), Buffer.concat([nullValue(), nullValue()])]) {
      expect(() => protectionOf(written(parameters))).toThrow(expect.objectContaining({ failInfo: 'badAlg' }));
    }
  });

  test('an RSA vendor key may protect', () => {
    const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const found = read({ protect: { kind: 'signature', key: rsa, algorithm: 'sha256WithRSAEncryption' } });
    expect(protectionOf(found)).toEqual({ kind: 'signature', algorithm: 'sha256WithRSAEncryption' });
    expect(verifySignatureProtection(found, readSpki(spkiOf(rsa), { allowRsa: true }))).toBe(true);
    expect(verifySignatureProtection(found, readSpki(spkiOf(key)))).toBe(false);
  });
});

test.each([
  ['NULL', nullValue()],
  ['INTEGER', integer(1)],
  ['SEQUENCE', sequence()],
])('a statusString with a member that is a %s is a fault of form, as any other', (_, member) => {
  const statusInfo = sequence(integer(2), sequence(member));
  const error = cmpRequest({ body: requestBody.other(23, sequence(statusInfo)), protect: { kind: 'none' } });
  expect(() => readPkiMessage(error)).toThrow(expect.objectContaining({ failInfo: 'badDataFormat' }));
});
