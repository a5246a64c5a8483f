import { bitString, nullValue, oid, sequence, TAG } from '../../src/x509/der.js';
import { readDer } from '../../src/x509/der-reader.js';
import { OID } from '../../src/x509/oids.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { readSpki, type Spki } from '../../src/x509/spki.js';

/** The public key in any of the forms the corpora use; it passes readSpki or that throws. */
export function spkiIn(text: string): Spki {
  return readSpki(spkiDerIn(text), { allowRsa: true });
}

export function spkiDerIn(text: string): Buffer {
  const [block] = pemBlocks(text);
  if (block === undefined) throw new Error('no PEM block in the corpus file');
  switch (block.label) {
    case 'PUBLIC KEY':
      return block.der;
    case 'RSA PUBLIC KEY':
      return rsaSpkiDer(block.der);
    case 'CERTIFICATE REQUEST':
    case 'NEW CERTIFICATE REQUEST':
      return spkiOfRequest(block.der);
    case 'CERTIFICATE':
      return spkiOfCertificate(block.der);
    default:
      throw new Error(`corpus file with a ${block.label}`);
  }
}

/** SPKI round an RSAPublicKey (PKCS #1). */
export function rsaSpkiDer(rsaPublicKeyDer: Buffer): Buffer {
  return sequence(sequence(oid(OID.rsaEncryption), nullValue()), bitString(rsaPublicKeyDer));
}

// Loose on purpose: some corpus certificates are v1 or SHA-1, which our readers refuse, and their key is the case.
function spkiOfCertificate(der: Buffer): Buffer {
  const tbs = readDer(der, TAG.SEQUENCE, 'certificate').enter(TAG.SEQUENCE);
  tbs.optional(0xa0);
  tbs.expect(TAG.INTEGER);
  for (let field = 0; field < 4; field += 1) tbs.expect(TAG.SEQUENCE);
  return tbs.expect(TAG.SEQUENCE).der;
}

function spkiOfRequest(der: Buffer): Buffer {
  const info = readDer(der, TAG.SEQUENCE, 'request').enter(TAG.SEQUENCE);
  info.expect(TAG.INTEGER);
  info.expect(TAG.SEQUENCE);
  return info.expect(TAG.SEQUENCE).der;
}
