import { readCertificate } from '../../src/x509/certificate.js';
import { csrBytesFromText, readCsr } from '../../src/x509/csr.js';
import { TAG } from '../../src/x509/der.js';
import { checkDer } from '../../src/x509/der-gate.js';
import { readDer } from '../../src/x509/der-reader.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import { readOcspResponse } from '../../src/x509/ocsp.js';
import { verifyOcspResponse } from '../../src/x509/ocsp-status.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { type Corpus, type CorpusCase, type Judge, runCorpus, type Verdict } from './corpus.js';
import { sha1Renamed, verifyAsRecorded } from './sha1.js';

/** What the CMP listener will let in. */
const CMP_LIMITS = { bytesMax: 65_536, depthMax: 32, elementsMax: 5_000 };
const gate: Judge = (corpusCase) => {
  const bytes = corpusCase.read();
  checkDer(bytes, CMP_LIMITS);
  readDer(bytes, TAG.SEQUENCE, 'PKIMessage');
  return 'accept';
};

runCorpus('openssl', {
  notApplicableMax: 633,
  expand: clientMatrixOf,
  judges: {
    'der-gate': gate,
    'cmp-parse': gate, // no verdict upstream: the gate must answer, within its time
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
    'cmp-client-matrix': 'waits for the CMP listener',
    'cmp-header': 'waits for the CMP listener',
    'cmp-popo': 'waits for the CMP listener',
    'cmp-protection': 'waits for the CMP listener',
    path: 'vendor chains are validated by OpenSSL, never by us',
  },
  differs: {
    'test/ocsp-tests/D3.ors@D3_Issuer_Root': 'the root is signed with MD5',
    'test/ocsp-tests/D3.ors@ISIC_D3_Issuer_Root': 'the root is signed with MD5',
    'test/recipes/65-test_cmp_client_data/client.csr': 'its key is on a curve we do not serve',
    'test/recipes/65-test_cmp_msg_data/pkcs10.der': 'it is signed with SHA-1',
  },
});

function certificateAt(corpusCase: CorpusCase, path: string): ReturnType<typeof readCertificate> {
  const [block] = pemBlocks(corpusCase.read(path).toString('latin1'));
  return readCertificate(sha1Renamed(block?.der ?? Buffer.alloc(0)));
}

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
