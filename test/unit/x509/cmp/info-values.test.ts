import { describe, expect, test } from '@jest/globals';
import { AsnConvert, AsnProp, AsnPropTypes, AsnType, AsnTypeTypes } from '@peculiar/asn1-schema';
import { CertTemplate, Controls } from '../../../../src/x509/cmp/crmf-schema.js';
import { certReqTemplateValue, readCrlStatusList, rootCaKeyUpdateValue } from '../../../../src/x509/cmp/index.js';
import { explicitTag, integer, nullValue, oid, sequence, tlv, x509Time } from '../../../../src/x509/der.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { extension } from '../../../../src/x509/extension.js';
import { distributionPointName, dnsName } from '../../../../src/x509/general-name.js';
import { OID } from '../../../../src/x509/oids.js';
import { recordedMessages } from './recorded-messages.js';

/** CertReqTemplateContent as RFC 9810 section 5.3.19.16 defines it: the oracle for what we build. */
@AsnType({ type: AsnTypeTypes.Sequence })
class CertReqTemplateContent {
  @AsnProp({ type: CertTemplate })
  certTemplate = new CertTemplate();
  @AsnProp({ type: Controls, optional: true })
  keySpec?: Controls;
}

@AsnType({ type: AsnTypeTypes.Sequence })
class RootCaKeyUpdateContent {
  @AsnProp({ type: AsnPropTypes.Any })
  newWithNew = new ArrayBuffer(0);
  @AsnProp({ type: AsnPropTypes.Any, context: 0, optional: true })
  newWithOld?: ArrayBuffer;
  @AsnProp({ type: AsnPropTypes.Any, context: 1, optional: true })
  oldWithNew?: ArrayBuffer;
}

const NAME = certificateName({ organization: 'Hanbit Mobile', commonName: 'Device CA 1' });
const P256 = sequence(oid(OID.ecPublicKey), oid(OID.prime256v1));

describe('values of genp, RFC 9810 section 5.3.19', () => {
  test('certReqTemplate presets a subject, names and key types', () => {
    const san = extension(OID.subjectAltName, false, sequence(dnsName('0012ab345678.femto.hanbit.example')));
    const der = certReqTemplateValue({ subjectDer: NAME, extensions: [san], keyAlgorithms: [P256] });
    const { certTemplate, keySpec } = AsnConvert.parse(der, CertReqTemplateContent);
    expect(Buffer.from(AsnConvert.serialize(certTemplate.subject)).equals(NAME)).toBe(true);
    expect([...(certTemplate.extensions ?? [])].map(({ extnID }) => extnID)).toEqual([OID.subjectAltName]);
    expect(certTemplate.publicKey).toBeUndefined();
    expect([...(keySpec ?? [])].map(({ type }) => type)).toEqual(['1.3.6.1.5.5.7.5.1.11']);
    expect(Buffer.from(AsnConvert.serialize(AsnConvert.parse(der, CertReqTemplateContent))).equals(der)).toBe(true);
  });

  test('an empty template leaves all to the unit', () => {
    expect(certReqTemplateValue({}).toString('hex')).toBe('30023000');
  });

  test('a root update carries the new root, and the links where there are any', () => {
    const { root, issued, protector } = recordedMessages();
    const der = rootCaKeyUpdateValue({ newWithNew: root, newWithOld: issued, oldWithNew: protector });
    const content = AsnConvert.parse(der, RootCaKeyUpdateContent);
    expect(Buffer.from(content.newWithNew).equals(root)).toBe(true);
    expect(Buffer.from(content.newWithOld ?? new ArrayBuffer(0)).equals(issued)).toBe(true);
    expect(Buffer.from(content.oldWithNew ?? new ArrayBuffer(0)).equals(protector)).toBe(true);
    expect(rootCaKeyUpdateValue({ newWithNew: root })).toEqual(sequence(root));
  });
});

describe('crlStatusList, RFC 9810 section 5.3.19.17', () => {
  const thisUpdate = new Date('2026-03-01T10:00:00Z');

  test('by distribution point or by issuer, with the CRL at hand or without', () => {
    const point = sequence(distributionPointName('http://crl.example/1'), x509Time(thisUpdate));
    const issuer = sequence(explicitTag(1, sequence(explicitTag(4, NAME))));
    expect(readCrlStatusList(sequence(point))).toEqual([
      { source: { kind: 'point', names: [{ kind: 'uri', value: 'http://crl.example/1' }] }, thisUpdate },
    ]);
    expect(readCrlStatusList(sequence(issuer))).toEqual([
      { source: { kind: 'issuer', names: [{ kind: 'directory', value: NAME.toString('hex') }] } },
    ]);
    expect(readCrlStatusList(sequence())).toEqual([]);
  });

  test.each<[string, Buffer]>([
    ['no list', nullValue()],
    ['a status without source', sequence(sequence(x509Time(thisUpdate)))],
    ['a point relative to its issuer', sequence(sequence(explicitTag(0, tlv(0xa1, integer(1)))))],
    ['an issuer without a name', sequence(sequence(explicitTag(1, sequence())))],
    [
      '17 of them',
      sequence(...Array.from({ length: 17 }, () => sequence(explicitTag(1, sequence(explicitTag(4, NAME)))))),
    ],
    ['a time that is none', sequence(sequence(explicitTag(1, sequence(explicitTag(4, NAME))), integer(1)))],
  ])('%s is badDataFormat', (_, valueDer) => {
    expect(() => readCrlStatusList(valueDer)).toThrow(expect.objectContaining({ failInfo: 'badDataFormat' }));
  });
});
