import { type Certificate, readCertificate, verifyCertificateSignature } from '../../src/x509/certificate.js';
import {
  CmpFault,
  type PkiMessage,
  protectionOf,
  readCertRequest,
  readPkiMessage,
  verifyMac,
  verifySignatureProtection,
} from '../../src/x509/cmp/index.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { macKeyOf } from '../support/cmp-mac.js';
import type { CorpusCase, Judge } from './corpus.js';
import { sha1Renamed } from './sha1.js';

/** Judges of recorded CMP messages. What the listener decides (path, state of the unit) is not theirs. */

/** Reads the message and every request in it. */
export const judgeCmpMessage: Judge = refusing((corpusCase) => {
  const { body } = readPkiMessage(corpusCase.read());
  if ('requests' in body) body.requests.forEach(readCertRequest);
  return true;
});

export const judgeCmpHeader: Judge = refusing((corpusCase) => {
  const { transactionId, recipNonce } = readPkiMessage(corpusCase.read());
  const { transactionID: wantedId, recipNonce: wantedNonce } = corpusCase.inputs;
  return (
    (wantedId === undefined || transactionId?.toString('hex') === wantedId) &&
    (wantedNonce === undefined || recipNonce?.toString('hex') === wantedNonce)
  );
});

/** The proof holds, and one flipped bit ends it. */
export const judgeCmpPossession: Judge = refusing((corpusCase) => {
  const { body } = readPkiMessage(corpusCase.read());
  const [request] = 'requests' in body ? body.requests : [];
  const keyRequest = request === undefined ? null : readCertRequest(request).keyRequest;
  if (keyRequest === null) return false;
  const bent = Buffer.from(keyRequest.signature);
  bent[bent.length - 1] = (bent.at(-1) ?? 0) ^ 0x80;
  return verifyPossession(keyRequest) && !verifyPossession({ ...keyRequest, signature: bent });
});

export const judgeCmpProtection: Judge = refusing((corpusCase) => {
  const message = readPkiMessage(corpusCase.read());
  const found = protectionOf(message);
  const { secret, issuer } = corpusCase.inputs;
  if (found.kind === 'none') return false;
  if (found.kind === 'signature') return issuer !== undefined && isSignedUnder(String(issuer), message, corpusCase);
  if (secret === undefined) return false;
  const key = macKeyOf(found.algorithm, Buffer.from(String(secret)));
  return verifyMac(found.algorithm, key, message.protectedDer, message.protection ?? Buffer.alloc(0));
});

/** Signed by the trusted certificate itself, or by one that it issued and that came along or was known. */
function isSignedUnder(issuerPath: string, message: PkiMessage, corpusCase: CorpusCase): boolean {
  const { untrusted, time, expectedSender } = corpusCase.inputs;
  const issuer = certificateAt(corpusCase, issuerPath);
  const known = untrusted === undefined ? [] : [certificateAt(corpusCase, String(untrusted))];
  const brought = message.extraCerts.map((der) => readCertificate(sha1Renamed(der)));
  const signer = [issuer, ...known, ...brought].find(({ spki }) => verifySignatureProtection(message, spki));
  if (signer === undefined) return false;
  if (!signer.der.equals(issuer.der) && !verifyCertificateSignature(signer, issuer.spki)) return false;
  if (time !== undefined && [signer, issuer].some((certificate) => !isValidAt(certificate, new Date(String(time))))) {
    return false;
  }
  const wantedSender = expectedSender === undefined ? signer : certificateNamed(String(expectedSender), corpusCase);
  return message.sender.kind === 'directoryName' && message.sender.nameDer.equals(wantedSender.subjectDer);
}

function isValidAt({ notBefore, notAfter }: Certificate, at: Date): boolean {
  return notBefore <= at && at <= notAfter;
}

/** "subject of server.crt": the file stands beside the message. */
function certificateNamed(sentence: string, corpusCase: CorpusCase): Certificate {
  const folder = corpusCase.file.slice(0, corpusCase.file.lastIndexOf('/') + 1);
  return certificateAt(corpusCase, folder + sentence.replace('subject of ', ''));
}

/** A certificate of the corpus, whatever it is signed with. */
export function certificateAt(corpusCase: CorpusCase, path: string): Certificate {
  const [block] = pemBlocks(corpusCase.read(path).toString('latin1'));
  return readCertificate(sha1Renamed(block?.der ?? Buffer.alloc(0)));
}

/** A CmpFault is an answer like a refusal. */
function refusing(holds: (corpusCase: CorpusCase) => boolean): Judge {
  return (corpusCase) => {
    try {
      return holds(corpusCase) ? 'accept' : 'reject';
    } catch (thrown) {
      if (thrown instanceof CmpFault) return 'reject';
      throw thrown;
    }
  };
}
