import { sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  certificatePem,
  pemBlocks,
  readCertificate,
  verifyCertificateSignature,
} from '../../../src/x509/certificate.js';
import {
  bitString,
  boolean,
  explicitTag,
  generalizedTime,
  implicitTag,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  TAG,
  tlv,
  x509Time,
} from '../../../src/x509/der.js';
import { extension } from '../../../src/x509/extension.js';
import { OID } from '../../../src/x509/oids.js';
import { certificateName, parseTbsCertificate } from '../../../src/x509/parsed-tbs.js';
import { algorithmIdentifier } from '../../../src/x509/signature-algorithm.js';
import { hierarchy, keyPair, NOW } from './hierarchy.js';

const key = keyPair();
const NAME = certificateName({ organization: 'Maker AG', commonName: 'Device Root' });
const EMPTY_NAME = sequence();
const ALGORITHM = algorithmIdentifier('ecdsa-with-SHA256');
const YEAR_LATER = new Date('2027-11-24T12:00:00Z');

interface Parts {
  version?: Buffer;
  serial?: Buffer;
  algorithm?: Buffer;
  issuer?: Buffer;
  validity?: Buffer;
  subject?: Buffer;
  unique?: Buffer;
  extensions?: Buffer[];
  outerAlgorithm?: Buffer;
}

function tbs(parts: Parts = {}): Buffer {
  const { extensions } = parts;
  return sequence(
    parts.version ?? explicitTag(0, integer(2)),
    parts.serial ?? integer(Buffer.from('01ab', 'hex')),
    parts.algorithm ?? ALGORITHM,
    parts.issuer ?? NAME,
    parts.validity ?? sequence(x509Time(NOW), x509Time(YEAR_LATER)),
    parts.subject ?? NAME,
    key.spki.spkiDer,
    parts.unique ?? Buffer.alloc(0),
    extensions === undefined ? Buffer.alloc(0) : explicitTag(3, sequence(...extensions)),
  );
}

function certificate(parts: Parts = {}): Buffer {
  const body = tbs(parts);
  return sequence(body, parts.outerAlgorithm ?? ALGORITHM, bitString(sign('sha256', body, key.privateKey)));
}

const KEY_USAGE = extension(OID.keyUsage, true, Buffer.from('03020106', 'hex'));

describe('certificates, RFC 5280 section 4.1', () => {
  test('the plainest one is read and verified', () => {
    const read = readCertificate(certificate());
    expect(read).toMatchObject({ commonName: 'Device Root', isCa: false, sanDns: [], keyUsage: [], aki: undefined });
    expect(verifyCertificateSignature(read, key.spki)).toBe(true);
  });

  test('PEM goes out and comes back', () => {
    const der = certificate();
    expect(pemBlocks(certificatePem(der))).toEqual([{ label: 'CERTIFICATE', der }]);
  });

  test.each<[string, Parts, string]>([
    ['version 1', { version: Buffer.alloc(0) }, 'BAD_REQUEST'],
    ['version 2', { version: explicitTag(0, integer(1)) }, 'BAD_REQUEST'],
    ['version 4', { version: explicitTag(0, integer(3)) }, 'BAD_REQUEST'],
    ['a negative serial', { serial: integer(-5) }, 'BAD_REQUEST'],
    ['a serial of 21 octets', { serial: integer(Buffer.alloc(21, 1)) }, 'BAD_REQUEST'],
    ['two algorithms', { outerAlgorithm: algorithmIdentifier('ecdsa-with-SHA384') }, 'BAD_REQUEST'],
    [
      'SHA-1',
      { algorithm: sequence(oid('1.2.840.10045.4.1')), outerAlgorithm: sequence(oid('1.2.840.10045.4.1')) },
      'KEY_WEAK',
    ],
    ['an empty issuer', { issuer: EMPTY_NAME }, 'BAD_REQUEST'],
    ['an empty subject without critical SAN', { subject: EMPTY_NAME }, 'BAD_REQUEST'],
    ['an end before its beginning', { validity: sequence(x509Time(YEAR_LATER), x509Time(NOW)) }, 'BAD_REQUEST'],
    ['a third date', { validity: sequence(x509Time(NOW), x509Time(NOW), x509Time(NOW)) }, 'BAD_REQUEST'],
    [
      'a fractional second',
      { validity: sequence(x509Time(NOW), tlv(TAG.GENERALIZED_TIME, Buffer.from('20271124120000.5Z'))) },
      'BAD_REQUEST',
    ],
    ['a unique id', { unique: tlv(0x81, Buffer.from([0, 1])) }, 'BAD_REQUEST'],
    ['an empty list of extensions', { extensions: [] }, 'BAD_REQUEST'],
    ['an extension twice', { extensions: [KEY_USAGE, KEY_USAGE] }, 'BAD_REQUEST'],
    ['an unknown critical extension', { extensions: [extension('1.2.3.4', true, nullValue())] }, 'BAD_REQUEST'],
    [
      'critical FALSE spelt out',
      { extensions: [sequence(oid('1.2.3.4'), boolean(false), octetString(nullValue()))] },
      'BAD_REQUEST',
    ],
    [
      'an AKI with an issuer and no serial',
      {
        extensions: [
          extension(OID.authorityKeyIdentifier, false, sequence(tlv(0xa1, implicitTag(2, Buffer.from('x'))))),
        ],
      },
      'BAD_REQUEST',
    ],
    ['an empty EKU', { extensions: [extension(OID.extendedKeyUsage, false, sequence())] }, 'BAD_REQUEST'],
    [
      'a path length of 256',
      { extensions: [extension(OID.basicConstraints, true, sequence(boolean(true), integer(256)))] },
      'BAD_REQUEST',
    ],
    [
      'a path length without CA',
      { extensions: [extension(OID.basicConstraints, true, sequence(integer(0)))] },
      'BAD_REQUEST',
    ],
    [
      'name constraints with nothing in them',
      { extensions: [extension(OID.nameConstraints, true, sequence())] },
      'BAD_REQUEST',
    ],
    ['nocheck that is no NULL', { extensions: [extension(OID.ocspNoCheck, false, integer(0))] }, 'BAD_REQUEST'],
    [
      'an address of five octets',
      { extensions: [extension(OID.subjectAltName, false, sequence(implicitTag(7, Buffer.alloc(5))))] },
      'BAD_REQUEST',
    ],
  ])('%s is refused', (_name, parts, code) => {
    expect(() => readCertificate(certificate(parts))).toThrow(expect.objectContaining({ code }));
  });

  test('what makers do and what harms nobody is read: serial zero, cA FALSE spelt out, GeneralizedTime before 2050', () => {
    const read = readCertificate(
      certificate({
        serial: integer(0),
        validity: sequence(generalizedTime(NOW), generalizedTime(new Date('9999-12-31T23:59:59Z'))),
        extensions: [extension(OID.basicConstraints, true, sequence(boolean(false)))],
      }),
    );
    expect(read).toMatchObject({ isCa: false, notAfter: new Date('9999-12-31T23:59:59Z') });
    expect(read.serial).toEqual(Buffer.from([0]));
  });

  test('an empty subject beside a critical SAN is read', () => {
    const san = extension(OID.subjectAltName, true, sequence(implicitTag(2, Buffer.from('a.example'))));
    expect(parseTbsCertificate(tbs({ subject: EMPTY_NAME, extensions: [san] })).sanDns).toEqual(['a.example']);
  });
});

test('a bent certificate is read, or refused with a listed code; it verifies only when its TBS is whole', () => {
  const { root, deviceCa } = hierarchy();
  const { der, tbsDer } = deviceCa.certificate;
  fc.assert(
    fc.property(fc.nat({ max: der.length - 1 }), fc.nat({ max: 255 }), (at, octet) => {
      const bent = Buffer.from(der);
      bent[at] = octet;
      try {
        const read = readCertificate(bent);
        if (verifyCertificateSignature(read, root.spki)) expect(read.tbsDer).toEqual(tbsDer);
      } catch (thrown) {
        expect(['BAD_REQUEST', 'KEY_WEAK']).toContain((thrown as { code?: string }).code);
      }
    }),
    { numRuns: 3_000 },
  );
});
