/** A leaf of the demo Services CA, signed by the real token: server, time, decision certificates for tests. */
import { type KeyObject, randomBytes } from 'node:crypto';
import { assembleCertificate } from '../../src/x509/certificate.js';
import { certificateTemplate } from '../../src/x509/certificate-template.js';
import { notAfterOf, PROFILES, type ProfileName } from '../../src/x509/profiles.js';
import { newSerial } from '../../src/x509/serial.js';
import { readSpki } from '../../src/x509/spki.js';
import type { FreshToken } from './token.js';

export async function servicesLeaf(
  token: FreshToken,
  wish: { profile: ProfileName; commonName: string; publicKey: KeyObject; lifeSeconds?: number },
): Promise<Buffer> {
  const issuer = token.entry('services-ca');
  const profile = PROFILES[wish.profile];
  const now = new Date();
  const notBefore = new Date(Math.floor(now.getTime() / 1_000) * 1_000 - 3_600_000);
  const serial = newSerial(now, randomBytes);
  const tbs = certificateTemplate({
    profile,
    issuerSubjectDer: Buffer.from(issuer.subjectDerHex, 'hex'),
    issuerKeyIdentifier: Buffer.from(issuer.keyIdentifierHex, 'hex'),
    issuerSignature: 'ecdsa-with-SHA256',
    operator: 'Hanbit Mobile',
    ...(issuer.crlUrl === undefined ? {} : { crlUrl: issuer.crlUrl }),
    ...(issuer.ocspUrl === undefined ? {} : { ocspUrl: issuer.ocspUrl }),
    ...(issuer.caUrl === undefined ? {} : { caUrl: issuer.caUrl }),
  }).build({
    serial,
    subject: {
      commonName: wish.commonName,
      ...(profile.organizationalUnit === undefined ? {} : { organizationalUnit: profile.organizationalUnit }),
    },
    ...(profile.san === 'absent' ? {} : { sanDns: wish.commonName }),
    spki: readSpki(wish.publicKey.export({ type: 'spki', format: 'der' })),
    notBefore,
    notAfter: notAfterOf(notBefore, wish.lifeSeconds ?? 7 * 86_400),
  });
  const [result] = await token
    .connect('worker')
    .sign([{ purpose: 'services', keyLabel: issuer.keyLabel, name: serial.toString('hex'), tbs }]);
  if (!result?.ok) throw new Error(`the signer gave no ${wish.profile} certificate: ${result?.message}`);
  return assembleCertificate(tbs, 'ecdsa-with-SHA256', result.signature);
}
