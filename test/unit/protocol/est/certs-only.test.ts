import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { ContentInfo, id_data, id_signedData, SignedData } from '@peculiar/asn1-cms';
import { AsnConvert } from '@peculiar/asn1-schema';
import { certsOnly } from '../../../../src/protocol/est/certs-only.js';
import { CSR_ATTRS } from '../../../../src/protocol/est/csr-attrs.js';
import { run } from '../../../support/command.js';

const certificate = (commonName: string): Buffer => {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '/dev/null'];
  const { text } = run('openssl', ['req', '-x509', ...key, '-subj', `/CN=${commonName}`]);
  const pem = /-----BEGIN[\s\S]+-----END CERTIFICATE-----/.exec(text)?.[0] ?? '';
  return new X509Certificate(pem).raw;
};

describe('certs-only, RFC 7030 section 4.1.3', () => {
  const [one, two] = [certificate('one'), certificate('second')];
  const der = certsOnly([two, one]);

  test('openssl prints the certificates', () => {
    const { code, text } = run('openssl', ['pkcs7', '-inform', 'DER', '-print_certs', '-noout'], der);
    expect([code, text.match(/subject=CN = \w+/g)?.sort()]).toEqual([0, ['subject=CN = one', 'subject=CN = second']]);
  });

  test('a schema of others reads it: nothing signed, nobody signs, no content', () => {
    const outer = AsnConvert.parse(der, ContentInfo);
    const signed = AsnConvert.parse(outer.content, SignedData);
    expect([outer.contentType, signed.version, signed.encapContentInfo.eContentType]).toEqual([
      id_signedData,
      1,
      id_data,
    ]);
    expect([signed.digestAlgorithms.length, signed.signerInfos.length]).toEqual([0, 0]);
    expect([signed.encapContentInfo.eContent, signed.crls, signed.certificates?.length]).toEqual([
      undefined,
      undefined,
      2,
    ]);
  });

  test('the bytes of each certificate are in it as they were, in the order of a SET OF', () => {
    const at = [one, two].map((each) => der.indexOf(each));
    expect(Math.min(...at)).toBeGreaterThan(0);
    expect((at[0] ?? 0) < (at[1] ?? 0)).toBe(Buffer.compare(one, two) < 0);
    expect(certsOnly([one, two])).toEqual(der);
  });
});

describe('CSR attributes, RFC 8951 section 3.3', () => {
  test('an EC key on P-256 and ecdsa-with-SHA256, byte for byte', () => {
    expect(CSR_ATTRS.toString('base64')).toBe('MCEwFQYHKoZIzj0CATEKBggqhkjOPQMBBwYIKoZIzj0EAwI=');
  });
});
