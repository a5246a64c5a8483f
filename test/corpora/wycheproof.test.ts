import { COORDINATE_BYTES, derToRaw, rawToDer } from '../../src/x509/ecdsa.js';
import { verifySignature } from '../../src/x509/signature-algorithm.js';
import { readSpki } from '../../src/x509/spki.js';
import { type Corpus, type CorpusCase, runCorpus, type Verdict } from './corpus.js';

interface Group {
  publicKeyDer: string;
  sha: 'SHA-256' | 'SHA-384';
  tests: Vector[];
}

interface Vector {
  tcId: number;
  comment: string;
  flags: string[];
  msg: string;
  sig: string;
  result: 'valid' | 'invalid' | 'acceptable';
}

const VERDICTS: Record<Vector['result'], Verdict> = { valid: 'accept', invalid: 'reject', acceptable: 'n/a' };

/** ECDSA as proof of possession uses it, and the raw-to-DER adapter behind every HSM signature. */
runCorpus('wycheproof', {
  notApplicableMax: 0,
  expand: vectorsOf,
  judges: {
    'signature-verify': ({ file, inputs }) => {
      const { group, vector } = inputs as { group: Group; vector: Vector };
      const spki = readSpki(Buffer.from(group.publicKeyDer, 'hex'));
      if (spki.algorithm === 'RSA') throw new Error('the vectors are ECDSA');
      const sent = Buffer.from(vector.sig, 'hex');
      const der = file.includes('_p1363_') ? rawToDer(sent) : sent;
      const algorithm = group.sha === 'SHA-256' ? 'ecdsa-with-SHA256' : 'ecdsa-with-SHA384';
      const verifies = verifySignature(algorithm, Buffer.from(vector.msg, 'hex'), spki, der);
      // What verifies must survive the way back: the adapter loses nothing.
      if (verifies && !rawToDer(derToRaw(der, COORDINATE_BYTES[spki.algorithm])).equals(der)) return 'reject';
      return verifies ? 'accept' : 'reject';
    },
  },
});

function vectorsOf(corpus: Corpus, prefix: string): CorpusCase[] {
  const { testGroups } = JSON.parse(corpus.read(prefix).toString('utf8')) as { testGroups: Group[] };
  return testGroups.flatMap((group) =>
    group.tests.map((vector) => ({
      id: `${prefix}#${vector.tcId}`,
      file: prefix,
      check: 'signature-verify',
      verdict: VERDICTS[vector.result],
      reason: `${vector.comment} ${vector.flags.join(' ')}`,
      inputs: { group, vector },
      read: (path = prefix) => corpus.read(path),
    })),
  );
}
