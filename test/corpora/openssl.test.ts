import { csrBytesFromText, readCsr } from '../../src/x509/csr.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import { readOcspResponse } from '../../src/x509/ocsp.js';
import { verifyOcspResponse } from '../../src/x509/ocsp-status.js';
import { type Corpus, type CorpusCase, runCorpus, type Verdict } from './corpus.js';
import {
  certificateAt,
  judgeCmpHeader,
  judgeCmpMessage,
  judgeCmpPossession,
  judgeCmpProtection,
} from './openssl-cmp.js';
import { sha1Renamed, verifyAsRecorded } from './sha1.js';

runCorpus('openssl', {
  notApplicableMax: 611,
  expand: clientMatrixOf,
  judges: {
    'der-gate': judgeCmpMessage,
    'cmp-parse': judgeCmpMessage, // no verdict upstream: read or refused, within its time
    'cmp-header': judgeCmpHeader,
    'cmp-popo': judgeCmpPossession,
    'cmp-protection': judgeCmpProtection,
    'ocsp-parse': (corpusCase) => {
      readOcspResponse(corpusCase.read());
      return 'accept';
    },
    'ocsp-verify': (corpusCase) => {
      const response = readOcspResponse(sha1Renamed(Buffer.from(corpusCase.read().toString('latin1'), 'base64')));
      if (response.status !== 'successful') return 'reject';
      const issuer = certificateAt(corpusCase, String(corpusCase.inputs['untrusted'] ?? corpusCase.inputs['issuer']));
      const now = new Date(String(corpusCase.inputs['time']));
      return verifyOcspResponse(response.basic, issuer, now, verifyAsRecorded) ? 'accept' : 'reject';
    },
    'csr-parse': (corpusCase) => {
      const csr = readCsr(csrBytesFromText(corpusCase.read()), { allowRsa: true });
      return verifyPossession(csr) ? 'accept' : 'reject';
    },
    'cert-parse': (corpusCase) => {
      certificateAt(corpusCase, corpusCase.file);
      return 'accept';
    },
  },
  notCovered: {
    'cmp-client-matrix':
      'its rows are options of the openssl client against a server of their own; ours is driven by openssl cmp elsewhere',
    path: 'vendor chains are validated by OpenSSL, never by us',
  },
  differs: {
    'test/ocsp-tests/D3.ors@D3_Issuer_Root': 'the root is signed with MD5',
    'test/ocsp-tests/D3.ors@ISIC_D3_Issuer_Root': 'the root is signed with MD5',
    'test/recipes/65-test_cmp_protect_data/GENM_protected_Ed.der': 'Ed25519 is not in our list of signatures',
    'test/recipes/65-test_cmp_protect_data/IP_PBM.der': 'its MAC key is derived with SHA-1',
    'test/recipes/65-test_cmp_vfy_data/IP_waitingStatus_PBM.der@secret': 'its MAC key is derived with SHA-1',
    'test/recipes/65-test_cmp_vfy_data/IR_protected_0_extraCerts.der@insta-untrusted':
      'the certificate of the sender names its issuer at an address with a blank in it',
    'test/recipes/65-test_cmp_vfy_data/IR_protected_2_extraCerts.der@insta_ca':
      'the certificate of the sender names its issuer at an address with a blank in it',
    'test/recipes/65-test_cmp_client_data/client.csr': 'its key is on a curve we do not serve',
    'test/recipes/65-test_cmp_msg_data/pkcs10.der': 'it is signed with SHA-1',
  },
});

/** Rows of the client's option matrix: column 1 is the verdict, column 2 the case; others are headings. */
function clientMatrixOf(corpus: Corpus, prefix: string): CorpusCase[] {
  const rows = corpus.read(prefix).toString('latin1').split(/\r?\n/).slice(1);
  return rows.flatMap((row, index) => {
    const [expected = '', description = ''] = row.split(',').map((cell) => cell.trim());
    if (expected === '' || description === '') return [];
    const verdict: Verdict = expected === '1' ? 'accept' : expected === '0' ? 'reject' : 'n/a';
    const id = `${prefix}#${index + 2}`;
    const read = (path = prefix): Buffer => corpus.read(path);
    return [{ id, file: prefix, check: 'cmp-client-matrix', verdict, reason: description, inputs: {}, read }];
  });
}
