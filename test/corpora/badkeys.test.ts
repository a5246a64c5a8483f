import { readCertificate } from '../../src/x509/certificate.js';
import { csrBytesFromText, readCsr } from '../../src/x509/csr.js';
import { integer, sequence } from '../../src/x509/der.js';
import { checkKeyPolicy } from '../../src/x509/key-policy.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { readSpki, spkiOfPoint } from '../../src/x509/spki.js';
import { type CorpusCase, type Judge, runCorpus } from './corpus.js';
import { rsaSpkiDer, spkiDerIn } from './keys.js';

const keyPolicy: Judge = (corpusCase) => {
  checkKeyPolicy(readSpki(spkiDerOf(corpusCase), { allowRsa: true }));
  return 'accept';
};

runCorpus('badkeys', {
  notApplicableMax: 3,
  judges: {
    'key-policy': keyPolicy,
    'key-parse': keyPolicy,
    'csr-parse': (corpusCase) => {
      readCsr(csrBytesFromText(corpusCase.read()), { allowRsa: true });
      return 'accept';
    },
    'cert-parse': (corpusCase) => {
      const [block] = pemBlocks(corpusCase.read().toString('latin1'));
      readCertificate(block?.der ?? Buffer.alloc(0));
      return 'accept';
    },
  },
  slow: {
    'tests/data/rsa-nprime.key':
      'OpenSSL proves a prime in 64 rounds; RSA comes only with a vendor chain that an operator registers, never from a unit',
  },
  differs: {
    'tests/data/rsa-debianweak.key':
      'the list of 2008 Debian keys has millions of entries, concerns RSA alone, and units bring EC: docs/decisions/weak-rsa-keys.md',
    'tests/data/rsa-sharedprimes.key':
      'a shared prime shows only beside the other moduli; units bring EC, and vendor CAs are a handful: docs/decisions/weak-rsa-keys.md',
  },
});

function spkiDerOf(corpusCase: CorpusCase): Buffer {
  const text = corpusCase.read().toString('latin1').trim();
  if (corpusCase.file.endsWith('.json')) return spkiOfJwk(JSON.parse(text) as Record<string, string>);
  if (/^[0-9a-f]+$/.test(text)) return rsaSpkiDer(sequence(integer(Buffer.from(text, 'hex')), integer(65_537)));
  return spkiDerIn(text);
}

function spkiOfJwk({ kty, crv, n = '', e = '', x = '', y = '' }: Record<string, string>): Buffer {
  const bytes = (value: string): Buffer => Buffer.from(value, 'base64url');
  if (kty === 'RSA') return rsaSpkiDer(sequence(integer(bytes(n)), integer(bytes(e))));
  if (kty === 'EC' && crv === 'P-256') {
    return spkiOfPoint('P-256', Buffer.concat([Buffer.from([4]), bytes(x), bytes(y)]));
  }
  return Buffer.from('3000', 'hex'); // no SPKI of ours has this curve: whatever reads it must refuse
}
