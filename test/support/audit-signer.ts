/**
 * A signer of audit heads for tests that have no token: a key in memory behind the real judge, so that a head without a
 * valid consistency proof is refused here as in production.
 */
import 'reflect-metadata';
import { createSign, KeyObject, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { firstLastHead, judgeHead, type LastHead } from '../../src/platform/hsm/judge-head.js';
import type { Signer, SignRequest, SignResult } from '../../src/platform/signer.js';

export const TEST_INSTALLATION = '00c0ffee';

export interface AuditSigner extends Signer {
  readonly certificatePem: string;
  /** Names of what was signed, in order. */
  readonly signed: string[];
  /** The next calls answer so instead. */
  fault: 'none' | 'down' | 'answer-lost';
}

export async function makeAuditSigner(): Promise<AuditSigner> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=audit, O=Test',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    signingAlgorithm: algorithm,
    keys: keys as unknown as x509.X509CertificateCreateSelfSignedParams['keys'],
  } as x509.X509CertificateCreateSelfSignedParams);
  const privateKey = KeyObject.from(keys.privateKey);
  let last: LastHead = firstLastHead(TEST_INSTALLATION, new Date());
  const one = (request: SignRequest): SignResult => {
    try {
      const next = judgeHead(request, {
        installation: TEST_INSTALLATION,
        epochMax: 9,
        last,
        nowMs: Date.now(),
        skewMs: 60_000,
      });
      const signature = createSign('sha256').update(request.tbs).sign(privateKey);
      last = next;
      signer.signed.push(request.name);
      return { ok: true, signature };
    } catch (thrown) {
      return { ok: false, code: 'DENIED', message: (thrown as Error).message };
    }
  };
  const signer: AuditSigner = {
    certificatePem: certificate.toString('pem'),
    signed: [],
    fault: 'none',
    sign: async (requests) => {
      const fault = signer.fault;
      if (fault === 'down') return requests.map(() => ({ ok: false, code: 'HSM_UNAVAILABLE', message: 'token away' }));
      const results = requests.map(one);
      if (fault === 'answer-lost') throw new Error('connection lost');
      return results;
    },
    close: async () => undefined,
  };
  return signer;
}
