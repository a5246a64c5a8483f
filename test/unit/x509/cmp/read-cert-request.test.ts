import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { FemtoError } from '../../../../src/platform/errors.js';
import { readCertificate } from '../../../../src/x509/certificate.js';
import { type CertRequestView, CmpFault, readCertRequest, readPkiMessage } from '../../../../src/x509/cmp/index.js';
import {
  boolean,
  explicitTag,
  implicitTag,
  integer,
  nullValue,
  oid,
  printableString,
  sequence,
  tlv,
  utf8String,
  x509Time,
} from '../../../../src/x509/der.js';
import { certificateName, relativeName } from '../../../../src/x509/distinguished-name.js';
import { extension } from '../../../../src/x509/extension.js';
import { dnsName } from '../../../../src/x509/general-name.js';
import { verifyPossession } from '../../../../src/x509/key-request.js';
import { OID } from '../../../../src/x509/oids.js';
import { type CertReqParts, certReqMsg, oldCertId, regToken } from '../../../support/cmp-request.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { privateKey: other } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const FQDN = '0012ab345678.femto.hanbit.example';
const NAME = certificateName({ organization: 'Hanbit Mobile', commonName: FQDN });

const read = (parts: Partial<CertReqParts> = {}): CertRequestView => readCertRequest(certReqMsg({ key, ...parts }));

function refusalOf(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof CmpFault) return thrown.failInfo;
    if (thrown instanceof FemtoError) return thrown.code;
    throw thrown;
  }
  return 'read';
}

describe('proof of possession, RFC 4211 section 4', () => {
  const { messages, issued } = recordedMessages();
  const recorded = (name: string): CertRequestView => {
    const { body } = readPkiMessage(messages.get(name) ?? Buffer.alloc(0));
    if (!('requests' in body)) throw new Error(body.kind);
    return readCertRequest(body.requests[0] ?? Buffer.alloc(0));
  };

  test.each(['ir.request1', 'ir-nameless.request1', 'cr.request1', 'kur.request1', 'ir-pbm.request1'])(
    'openssl %s signs its certRequest with the new key',
    (name) => {
      const { popo, keyRequest, certReqId } = recorded(name);
      expect({ popo, certReqId }).toEqual({ popo: 'signature', certReqId: 0 });
      expect(keyRequest === null ? false : verifyPossession(keyRequest)).toBe(true);
    },
  );

  test('openssl -popo 0 says raVerified, -popo -1 says nothing: no key is proved', () => {
    expect(recorded('ir-ra.request1')).toMatchObject({ popo: 'raVerified', keyRequest: null });
    expect(recorded('ir-no-popo.request1')).toMatchObject({ popo: 'none', keyRequest: null });
    expect(read({ popo: 'keyAgreement' })).toMatchObject({ popo: 'other', keyRequest: null });
  });

  test('openssl kur names the certificate it renews, cr the names it wishes', () => {
    const { serial, issuerDer } = readCertificate(issued);
    expect(recorded('kur.request1').oldCertId).toEqual({ issuerDer, serial });
    expect(recorded('cr.request1').oldCertId).toBeUndefined();
    expect(recorded('cr.request1').keyRequest?.sanDns).toEqual([FQDN]);
  });

  test('the proof covers certReq as received; poposkInput under the universal SEQUENCE tag where it is sent', () => {
    const direct = read({ subjectDer: NAME });
    expect(direct.keyRequest === null ? false : verifyPossession(direct.keyRequest)).toBe(true);
    const input = read({ popo: 'poposkInput' });
    expect(input.keyRequest?.signedDer[0]).toBe(0x30);
    expect(input.keyRequest === null ? false : verifyPossession(input.keyRequest)).toBe(true);
  });

  test('poposkInput is verified also where the profile prohibits it: subject and key both named', () => {
    const { keyRequest } = read({ popo: 'poposkInput', subjectDer: NAME });
    expect(keyRequest === null ? false : verifyPossession(keyRequest)).toBe(true);
  });

  test.each(['signature', 'poposkInput'] as const)('a %s by another key proves nothing', (popo) => {
    const { keyRequest } = read({ popo, proveWith: other });
    expect(keyRequest === null ? true : verifyPossession(keyRequest)).toBe(false);
  });

  test('poposkInput for another key than the template names is badPOP', () => {
    expect(refusalOf(() => read({ popo: 'poposkInput', inputKey: other, proveWith: other }))).toBe('badPOP');
  });

  test('a flipped bit in the request, and the proof is gone', () => {
    const der = certReqMsg({ key, subjectDer: NAME });
    der[der.indexOf('Hanbit')] = 0x68;
    const { keyRequest } = readCertRequest(der);
    expect(keyRequest === null ? true : verifyPossession(keyRequest)).toBe(false);
  });

  test('ECDSA with NULL parameters, as older clients write it, proves as well', () => {
    const { keyRequest } = read({ algorithmDer: sequence(oid('1.2.840.10045.4.3.2'), nullValue()) });
    expect(keyRequest === null ? false : verifyPossession(keyRequest)).toBe(true);
  });

  test('SHA-1 and EdDSA proofs are badAlg', () => {
    expect(refusalOf(() => read({ algorithmDer: sequence(oid('1.2.840.10045.4.1')) }))).toBe('badAlg');
    expect(refusalOf(() => read({ algorithmDer: sequence(oid('1.3.101.112')) }))).toBe('badAlg');
  });
});

describe('certTemplate, RFC 4211 section 5', () => {
  test('subject absent, NULL-DN or named: the view says which', () => {
    expect(read().templateSubjectDer).toBeUndefined();
    expect(read().keyRequest?.subjectDer).toEqual(sequence());
    expect(read({ subjectDer: sequence() }).templateSubjectDer).toEqual(sequence());
    expect(read({ subjectDer: NAME }).keyRequest).toMatchObject({ subjectDer: NAME, commonName: FQDN });
  });

  test('version, serialNumber, signingAlg, issuer and validity are passed over', () => {
    const templateStart = [
      implicitTag(0, Buffer.from([2])),
      implicitTag(1, Buffer.from([9])),
      tlv(0xa2, oid('1.2.840.113549.1.1.5')),
      explicitTag(3, certificateName({ organization: 'A vendor', commonName: 'CA' })),
      tlv(0xa4, explicitTag(0, x509Time(new Date(0))), explicitTag(1, x509Time(new Date('2049-01-01')))),
    ];
    const { keyRequest } = read({ templateStart, subjectDer: NAME });
    expect(keyRequest === null ? false : verifyPossession(keyRequest)).toBe(true);
    expect(keyRequest?.asksFor).toEqual({ ca: false, keyUsageCertSign: false, otherNames: [], extensionOids: [] });
  });

  test('wishes are read as from PKCS#10', () => {
    const { keyRequest } = read({
      extensions: [
        extension(OID.subjectAltName, true, sequence(dnsName(FQDN))),
        extension(OID.basicConstraints, true, sequence(boolean(true))),
      ],
    });
    expect(keyRequest).toMatchObject({
      sanDns: [FQDN],
      asksFor: { ca: true, extensionOids: [OID.subjectAltName, OID.basicConstraints] },
    });
    expect(keyRequest?.challengePassword).toBeUndefined();
  });

  test.each<[string, Partial<CertReqParts>, string]>([
    ['no public key', { spkiDer: null }, 'badCertTemplate'],
    ['an unknown critical extension', { extensions: [extension('1.2.3.4', true, sequence())] }, 'badCertTemplate'],
    [
      'one extension twice',
      { extensions: [1, 2].map(() => extension('1.2.3.4', false, sequence())) },
      'badCertTemplate',
    ],
    [
      'two common names',
      { subjectDer: sequence(relativeName(OID.commonName, 'a'), relativeName(OID.commonName, 'b')) },
      'badCertTemplate',
    ],
    ['a subject that is no Name', { subjectDer: integer(1) }, 'badCertTemplate'],
    ['fields out of order', { templateStart: [explicitTag(5, NAME)], subjectDer: NAME }, 'badCertTemplate'],
    ['a key on an odd curve', { key: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey }, 'KEY_WEAK'],
    [
      'an RSA key',
      { key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, algorithm: 'sha256WithRSAEncryption' },
      'KEY_WEAK',
    ],
    ['a key that is no key', { spkiDer: sequence(integer(1)) }, 'badCertTemplate'],
    [
      'a private key somewhere',
      { extensions: [extension('1.2.3.4', false, key.export({ format: 'der', type: 'pkcs8' }))] },
      'KEY_BLOCKED',
    ],
    ['a certReqId beyond 32 bits', { certReqId: 2 ** 40 }, 'badDataFormat'],
  ])('%s', (_, parts, refusal) => {
    expect(refusalOf(() => read(parts))).toBe(refusal);
  });

  test('a template without a key is refused whatever the proof says: nobody makes keys here', () => {
    expect(refusalOf(() => read({ spkiDer: null, popo: 'signature' }))).toBe('badCertTemplate');
    expect(read({ spkiDer: null, popo: 'raVerified' })).toMatchObject({ keyRequest: null });
  });
});

describe('controls and regInfo, RFC 4211 section 6', () => {
  const CODE = 'K7QM-2F9D';

  test('regToken is read from controls and from regInfo; unknown controls are passed over', () => {
    expect(read({ controls: [regToken(CODE)] }).regToken).toBe(CODE);
    expect(read({ regInfo: [regToken(CODE)] }).regToken).toBe(CODE);
    expect(read({ controls: [sequence(oid('1.2.3'), integer(1)), regToken(CODE)] }).regToken).toBe(CODE);
    expect(read({ popo: 'none', regInfo: [regToken(CODE)] })).toMatchObject({ popo: 'none', regToken: CODE });
    expect(read().regToken).toBeUndefined();
  });

  test('128 characters are read, 129 are not', () => {
    expect(read({ controls: [regToken('é'.repeat(128))] }).regToken).toHaveLength(128);
    expect(refusalOf(() => read({ controls: [regToken('x'.repeat(129))] }))).toBe('badDataFormat');
  });

  test('the serial number of oldCertID has no sign octet, the issuer is a whole Name', () => {
    const { oldCertId: found } = read({ controls: [oldCertId(NAME, Buffer.from('ff01', 'hex'))] });
    expect(found).toEqual({ issuerDer: NAME, serial: Buffer.from('ff01', 'hex') });
  });

  test.each<[string, Partial<CertReqParts>]>([
    ['two regToken', { controls: [regToken(CODE)], regInfo: [regToken(CODE)] }],
    ['two oldCertID', { controls: [oldCertId(NAME, Buffer.from([1])), oldCertId(NAME, Buffer.from([1]))] }],
    ['a regToken of another string type', { controls: [sequence(oid(OID.regToken), printableString(CODE))] }],
    ['a regToken that is not UTF-8', { controls: [sequence(oid(OID.regToken), tlv(0x0c, Buffer.from([0xff])))] }],
    [
      'an oldCertID whose issuer is a host',
      { controls: [sequence(oid(OID.oldCertId), sequence(dnsName(FQDN), integer(1)))] },
    ],
    ['an oldCertID that is text', { controls: [sequence(oid(OID.oldCertId), utf8String('x'))] }],
    ['17 controls', { controls: Array.from({ length: 17 }, () => sequence(oid('1.2.3'), integer(1))) }],
  ])('%s is badDataFormat', (_, parts) => {
    expect(refusalOf(() => read(parts))).toBe('badDataFormat');
  });

  test('every shorter form is refused, none of them crashes', () => {
    const der = certReqMsg({ key, subjectDer: NAME, controls: [regToken(CODE)] });
    for (let bytes = 0; bytes < der.length; bytes += 1) {
      expect(refusalOf(() => readCertRequest(der.subarray(0, bytes)))).toBe('badDataFormat');
    }
  });
});
