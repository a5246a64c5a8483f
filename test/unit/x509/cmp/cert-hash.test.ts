import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { type CertStatusView, matchesCertHash, readPkiMessage } from '../../../../src/x509/cmp/index.js';
import { type ConfirmParts, cmpRequest, requestBody } from '../../../support/cmp-request.js';
import { opensslFile } from '../openssl.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function confirmed(parts: ConfirmParts): CertStatusView {
  const der = cmpRequest({ body: requestBody.certConf(parts), protect: { kind: 'signature', key } });
  const { body } = readPkiMessage(der);
  const [status] = body.kind === 'certConf' ? body.statuses : [];
  if (status === undefined) throw new Error(body.kind);
  return status;
}

/** A certificate signed with this hash, made by openssl. */
function certificate(digest: string, signer: KeyObject): Buffer {
  const files = { 'k.pem': signer.export({ format: 'pem', type: 'pkcs8' }) };
  const options = ['req', '-x509', '-new', '-key', 'k.pem', `-${digest}`, '-subj', '/CN=x', '-days', '9'];
  return opensslFile([...options, '-outform', 'DER', '-out', 'c.der'], files, 'c.der');
}

describe('certHash, RFC 9810 section 5.3.18', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

  test.each([
    ['sha256', key],
    ['sha384', key],
    ['sha512', key],
    ['sha256', rsa],
    ['sha384', rsa],
  ])("is that of the certificate's signature algorithm: %s", (digest, signer) => {
    const certificateDer = certificate(digest, signer);
    for (const candidate of ['sha256', 'sha384', 'sha512', 'sha1']) {
      const certHash = createHash(candidate).update(certificateDer).digest();
      expect(matchesCertHash(confirmed({ certHash }), certificateDer)).toBe(candidate === digest);
    }
  });

  test('openssl confirms the certificate it got', () => {
    const { messages, issued, protector } = recordedMessages();
    const { body } = readPkiMessage(messages.get('ir.request2') ?? Buffer.alloc(0));
    const [status] = body.kind === 'certConf' ? body.statuses : [];
    if (status === undefined) throw new Error(body.kind);
    expect(matchesCertHash(status, issued)).toBe(true);
    expect(matchesCertHash(status, protector)).toBe(false);
  });

  test('a hash named since pvno 3 is used instead; SHA-1 is badAlg', () => {
    const certificateDer = certificate('sha256', key);
    const certHash = createHash('sha512').update(certificateDer).digest();
    const SHA512 = '2.16.840.1.101.3.4.2.3';
    expect(matchesCertHash(confirmed({ certHash, hashAlg: SHA512 }), certificateDer)).toBe(true);
    expect(matchesCertHash(confirmed({ certificateDer, hashAlg: SHA512 }), certificateDer)).toBe(false);
    expect(() => matchesCertHash(confirmed({ certificateDer, hashAlg: '1.3.14.3.2.26' }), certificateDer)).toThrow(
      expect.objectContaining({ failInfo: 'badAlg' }),
    );
  });
});
