import { readCertId } from '../../src/x509/cert-id.js';
import { type Certificate, readCertificate } from '../../src/x509/certificate.js';
import { readCrl } from '../../src/x509/crl.js';
import { crlStatus } from '../../src/x509/crl-status.js';
import { TAG } from '../../src/x509/der.js';
import { checkDer } from '../../src/x509/der-gate.js';
import { DerReader, readDer, wholeOctets } from '../../src/x509/der-reader.js';
import { readAuthorityKeyIdentifier } from '../../src/x509/extension-values.js';
import {
  certIdOf,
  ocspIssuerHashes,
  parseResponseData,
  readOcspRequest,
  readOcspResponse,
} from '../../src/x509/ocsp.js';
import { ocspStatus } from '../../src/x509/ocsp-status.js';
import { parseTbsCertificate } from '../../src/x509/parsed-tbs.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { requireSignatureAlgorithm, verifySignature } from '../../src/x509/signature-algorithm.js';
import { readSpki } from '../../src/x509/spki.js';
import { type CorpusCase, runCorpus } from './corpus.js';
import { sha1Renamed, verifyAsRecorded } from './sha1.js';

const DAY = 86_400;
const DER_LIMITS = { bytesMax: 65_536, depthMax: 32, elementsMax: 5_000 };

runCorpus('boringssl', {
  notApplicableMax: 295,
  judges: {
    'cert-parse': certificate,
    'cert-outer': certificate,
    'tbs-outer': (corpusCase) => {
      parseTbsCertificate(sha1Renamed(blockOf(corpusCase, 'TBS CERTIFICATE')));
      return 'accept';
    },
    'extension-parse': (corpusCase) => {
      readAuthorityKeyIdentifier(blockOf(corpusCase, 'AUTHORITY_KEY_IDENTIFIER'));
      return 'accept';
    },
    'signature-verify': signature,
    'crl-status': (corpusCase) => {
      const certificates = [blockOf(corpusCase, 'CA CERTIFICATE'), ...blocksOf(corpusCase, 'CA CERTIFICATE 2')];
      const status = crlStatus({
        crl: readCrl(blockOf(corpusCase, 'CRL')),
        certificate: readCertificate(blockOf(corpusCase, 'CERTIFICATE')),
        issuers: certificates.map((der) => readCertificate(der)),
        ...timeOf(corpusCase),
      });
      return verdictOf(corpusCase, status);
    },
    'ocsp-status': (corpusCase) => {
      const certificate = readCertificate(sha1Renamed(blockOf(corpusCase, 'CERTIFICATE')));
      const issuer = readCertificate(sha1Renamed(blockOf(corpusCase, 'CA CERTIFICATE')));
      requestMustName(corpusCase, certificate, issuer);
      const response = readOcspResponse(sha1Renamed(blockOf(corpusCase, 'OCSP RESPONSE')));
      const status = ocspStatus({ response, certificate, issuer, verify: verifyAsRecorded, ...timeOf(corpusCase) });
      return verdictOf(corpusCase, status);
    },
    'der-gate': (corpusCase) => {
      checkDer(corpusCase.read(), DER_LIMITS);
      return 'accept';
    },
    parse: fuzzSeed,
  },
  notCovered: { path: 'vendor chains are validated by OpenSSL, never by us' },
  differs: {
    'pki/testdata/crl_unittest/good_issuer_name_normalization.pem':
      'names chain by bytes: every issuer copies its own, and a verifier that folds case is a second opinion',
    'pki/testdata/crl_unittest/good_no_version.pem':
      'version 1 lists have no number and no key identifier; RFC 5280 section 5.1.2.1 wants version 2',
    'pki/testdata/ocsp_unittest/good_response_invalid_serial.pem': 'a padded INTEGER is not DER',
    'pki/testdata/ocsp_unittest/has_critical_ct_extension.pem':
      'certificate transparency is not in this PKI, so its critical extension is unknown here',
    'pki/testdata/parse_certificate_unittest/bad_signature_algorithm_oid.pem':
      'the two algorithm fields differ, which upstream checks in another step',
    'pki/testdata/parse_certificate_unittest/failed_signature_algorithm.pem':
      'the signature algorithm is no AlgorithmIdentifier, which upstream checks in another step',
    'pki/testdata/parse_certificate_unittest/basic_constraints_pathlen_not_ca.pem':
      'RFC 5280 section 4.2.1.9 forbids a path length beside cA FALSE',
    'pki/testdata/parse_certificate_unittest/extension_critical.pem':
      'a critical extension nobody knows is refused while reading, upstream does it on the path',
    'pki/testdata/parse_certificate_unittest/serial_37_bytes.pem': 'RFC 5280 section 4.1.2.2: at most 20 octets',
    'pki/testdata/parse_certificate_unittest/serial_negative.pem': 'RFC 5280 section 4.1.2.2: positive',
    'pki/testdata/parse_certificate_unittest/serial_zero_padded_21_bytes.pem':
      'RFC 5280 section 4.1.2.2: at most 20 octets, the sign octet included',
    'pki/testdata/parse_certificate_unittest/tbs_v1.pem': 'only version 3 can say what a key is for',
    'pki/testdata/parse_certificate_unittest/tbs_v2_issuer_and_subject_unique_id.pem':
      'only version 3 can say what a key is for',
    'pki/testdata/parse_certificate_unittest/tbs_v3_all_optionals.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_v3_extensions.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_v3_no_optionals.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_validity_both_generalized_time.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_validity_both_utc_time.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_validity_generalized_time_and_utc_time.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_validity_utc_time_and_generalized_time.pem': 'inner fields are filler',
    'pki/testdata/parse_certificate_unittest/tbs_v2_issuer_unique_id.pem': 'only version 3 can say what a key is for',
    'pki/testdata/parse_certificate_unittest/tbs_v2_no_optionals.pem': 'only version 3 can say what a key is for',
  },
});

function certificate(corpusCase: CorpusCase): 'accept' {
  readCertificate(sha1Renamed(blockOf(corpusCase, 'CERTIFICATE')));
  return 'accept';
}

function signature(corpusCase: CorpusCase): 'accept' | 'reject' {
  const spki = readSpki(blockOf(corpusCase, 'PUBLIC KEY'), { allowRsa: true });
  const algorithm = requireSignatureAlgorithm(blockOf(corpusCase, 'ALGORITHM'), 'data');
  const bits = new DerReader(blockOf(corpusCase, 'SIGNATURE'), 'signature').expect(TAG.BIT_STRING).content;
  return verifySignature(algorithm, blockOf(corpusCase, 'DATA'), spki, wholeOctets(bits, 'signature'))
    ? 'accept'
    : 'reject';
}

/** Seeds have no verdict: each parser must answer or refuse, in bounded time. */
function fuzzSeed(corpusCase: CorpusCase): 'accept' {
  const bytes = corpusCase.read();
  if (corpusCase.id.includes('spki_corpus')) readSpki(bytes, { allowRsa: true });
  else if (corpusCase.id.includes('ocsp_cert_id')) readCertId(new DerReader(bytes, 'seed').next());
  else if (corpusCase.id.includes('ocsp_response_data')) parseResponseData(bytes);
  else if (corpusCase.id.includes('ocsp_response')) readOcspResponse(bytes);
  else if (corpusCase.id.includes('crl_parse_crl_tbscertlist')) readCrl(bytes, { tbsOnly: true });
  else if (corpusCase.id.includes('fuzz/crl_')) readCrl(bytes);
  else readDer(bytes, TAG.SEQUENCE, 'seed');
  return 'accept';
}

/** The request beside each answer is a sample for the request parser: made by somebody else, about this certificate. */
function requestMustName(corpusCase: CorpusCase, certificate: Certificate, issuer: Certificate): void {
  const [requestDer] = blocksOf(corpusCase, 'OCSP REQUEST');
  if (requestDer === undefined) throw new Error('no request in the corpus file');
  const [certId] = readOcspRequest(requestDer).certIds;
  const hashes = ocspIssuerHashes(issuer.subjectDer, issuer.spki);
  const expected = certIdOf('sha1', hashes.sha1, certificate.serial);
  if (certId?.certIdDer.equals(expected.certIdDer) !== true) throw new Error('the request names another certificate');
}

function verdictOf({ inputs }: CorpusCase, status: string): 'accept' | 'reject' {
  // A revoked case must be found revoked, not merely refused for some other reason.
  if (inputs['status'] === 'revoked' && status !== 'revoked') return 'accept';
  return status === 'good' ? 'accept' : 'reject';
}

function timeOf({ inputs }: CorpusCase): { now: Date; ageMaxSeconds: number } {
  return { now: new Date(String(inputs['time'])), ageMaxSeconds: Number(inputs['maxAgeDays']) * DAY };
}

function blocksOf(corpusCase: CorpusCase, label: string): Buffer[] {
  return pemBlocks(corpusCase.read().toString('latin1'))
    .filter((block) => block.label === label)
    .map((block) => block.der);
}

function blockOf(corpusCase: CorpusCase, label: string): Buffer {
  return blocksOf(corpusCase, label)[0] ?? Buffer.alloc(0);
}
