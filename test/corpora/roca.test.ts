import { hasRocaFingerprint } from '../../src/x509/roca.js';
import { rsaNumbers } from '../../src/x509/spki.js';
import { type CorpusCase, runCorpus } from './corpus.js';
import { spkiIn } from './keys.js';

/** The fingerprint alone: size and the other rules may still refuse a key that passes here. */
runCorpus('roca', {
  notApplicableMax: 0,
  judges: { 'key-policy': (corpusCase) => (hasRocaFingerprint(modulusOf(corpusCase)) ? 'reject' : 'accept') },
});

function modulusOf(corpusCase: CorpusCase): bigint {
  const text = corpusCase.read().toString('latin1').trim();
  return text.startsWith('0x') ? BigInt(text) : rsaNumbers(spkiIn(text)).modulus;
}
