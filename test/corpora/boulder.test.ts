import { readCertificate } from '../../src/x509/certificate.js';
import { lintCrl, readCrl } from '../../src/x509/crl.js';
import { readCsr } from '../../src/x509/csr.js';
import { checkKeyPolicy } from '../../src/x509/key-policy.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import { readOcspResponse } from '../../src/x509/ocsp.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { readSpki } from '../../src/x509/spki.js';
import { type CorpusCase, type Judge, runCorpus } from './corpus.js';
import { spkiDerIn } from './keys.js';

const DAY = 86_400;

// The longest life is the publisher's to say; upstream's lint knows 10 days for leaves and a year for CAs.
const crl: Judge = (corpusCase) => {
  const crl = readCrl(blockOf(corpusCase));
  const forLeaves = crl.distributionPoint?.onlyUserCerts === true;
  lintCrl(crl, { lifeMaxSeconds: forLeaves ? 10 * DAY : 365 * DAY, scope: 'leaf' });
  return 'accept';
};
const certificate: Judge = (corpusCase) => {
  readCertificate(blockOf(corpusCase));
  return 'accept';
};

runCorpus('boulder', {
  notApplicableMax: 19, // 11 without a verdict upstream, and the 8 paths below
  judges: {
    'csr-policy': (corpusCase) => {
      const csr = readCsr(corpusCase.read(), { allowRsa: true });
      checkKeyPolicy(csr.spki);
      return verifyPossession(csr) ? 'accept' : 'reject';
    },
    'key-policy': (corpusCase) => {
      checkKeyPolicy(readSpki(spkiDerIn(corpusCase.read().toString('latin1')), { allowRsa: true }));
      return 'accept';
    },
    'crl-lint': crl,
    'crl-parse': crl,
    'cert-parse': certificate,
    'cert-lint': certificate,
    'issuer-load': (corpusCase) => {
      const { isCa, keyUsage } = readCertificate(blockOf(corpusCase));
      return isCa && keyUsage.includes('keyCertSign') ? 'accept' : 'reject';
    },
    'ocsp-parse': (corpusCase) => (readOcspResponse(corpusCase.read()).status === 'successful' ? 'accept' : 'reject'),
  },
  notCovered: {
    path: 'vendor chains are validated by OpenSSL, never by us',
  },
  differs: {
    'ca/testdata/ct_poison_extension_empty.der.csr':
      'a critical extension nobody knows is refused in a request too, where a web CA drops it',
    'ca/testdata/no_names.der.csr':
      'a request without names is fine: names come from the registry (docs/decisions/corpora-differences.md)',
    'linter/lints/cabf_br/testdata/crl_reason_6.pem@crl_acceptable_reason_codes':
      'a unit can be held, which browsers forbid and RFC 5280 section 5.3.1 knows (docs/decisions/corpora-differences.md)',
    'linter/lints/cpcps/testdata/crl_idp_distributionPoint_and_onlyCA.pem@crl_has_idp':
      'a browser-forum SHOULD NOT; RFC 5280 section 5.2.5 allows both (docs/decisions/corpora-differences.md)',
    'linter/lints/cpcps/testdata/crl_idp_no_usercerts.pem@crl_has_idp':
      'a point without scope flags is what RFC 5280 section 5.2.5 means by all certificates (docs/decisions/corpora-differences.md)',
    'linter/lints/rfc/testdata/crl_good_gentime_2050.pem@crl_has_valid_timestamps':
      'the timestamps pass here too, but the list lives longer than any of ours may',
  },
});

function blockOf(corpusCase: CorpusCase): Buffer {
  const [block] = pemBlocks(corpusCase.read().toString('latin1'));
  return block?.der ?? Buffer.alloc(0);
}
