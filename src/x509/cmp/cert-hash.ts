import { createHash } from 'node:crypto';
import { TAG } from '../der.js';
import { oidValue, readDer } from '../der-reader.js';
import { OID } from '../oids.js';
import { type SignatureAlgorithm, signatureAlgorithmOf } from '../signature-algorithm.js';
import { CmpFault, faultAs } from './cmp-fault.js';
import type { CertStatusView } from './pki-message.js';

type Digest = 'sha256' | 'sha384' | 'sha512';

const DIGEST_OF_OID: Readonly<Record<string, Digest>> = {
  [OID.sha256]: 'sha256',
  [OID.sha384]: 'sha384',
  [OID.sha512]: 'sha512',
};

const DIGEST_OF_SIGNATURE: Readonly<Record<SignatureAlgorithm, Digest>> = {
  'ecdsa-with-SHA256': 'sha256',
  'ecdsa-with-SHA384': 'sha384',
  'ecdsa-with-SHA512': 'sha512',
  sha256WithRSAEncryption: 'sha256',
  sha384WithRSAEncryption: 'sha384',
  sha512WithRSAEncryption: 'sha512',
};

/**
 * Does a certConf name this certificate? Its hash is that of the certificate's own signature algorithm; since pvno 3 a
 * client may name another one.
 *
 * @param certificateDer  a certificate that we issued
 * @throws CmpFault badAlg where hashAlg is not one of the SHA-2 hashes
 * @see RFC 9810 section 5.3.18
 */
export function matchesCertHash(status: CertStatusView, certificateDer: Buffer): boolean {
  const digest = status.hashAlgDer === undefined ? digestOf(certificateDer) : namedDigest(status.hashAlgDer);
  return createHash(digest).update(certificateDer).digest().equals(status.certHash);
}

function digestOf(certificateDer: Buffer): Digest {
  const fields = readDer(certificateDer, TAG.SEQUENCE, 'certificate');
  fields.expect(TAG.SEQUENCE, 'tbsCertificate');
  const algorithm = signatureAlgorithmOf(fields.expect(TAG.SEQUENCE, 'signature algorithm').der);
  if (algorithm === undefined) return fields.fail('is signed with an algorithm that we do not sign with');
  return DIGEST_OF_SIGNATURE[algorithm];
}

function namedDigest(hashAlgDer: Buffer): Digest {
  const id = faultAs('badAlg', () =>
    oidValue(readDer(hashAlgDer, TAG.SEQUENCE, 'hashAlg').expect(TAG.OID).content, 'hashAlg'),
  );
  const digest = DIGEST_OF_OID[id];
  if (digest === undefined) {
    throw new CmpFault('badAlg', 'The certConf names a hash we refuse; use SHA-256.', { facts: { algorithm: id } });
  }
  return digest;
}
