import { verify } from 'node:crypto';
import type { OcspSigner } from '../../lifecycle/status/index.js';
import { FemtoError } from '../../platform/errors.js';
import { gather } from '../../platform/gather.js';
import type { Signer, SignRequest, SignResult } from '../../platform/signer.js';
import { assembleOcspResponse, buildResponseData, type OcspAnswer } from '../../x509/ocsp.js';

export interface AnswerToSign {
  readonly responder: OcspSigner;
  /** One or more, all of the responder's CA. */
  readonly answers: readonly OcspAnswer[];
  /** Serial of the first, lower-case hex: the signature's name in the signer's journal. */
  readonly serialHex: string;
  readonly producedAt: Date;
  readonly nonce?: Buffer;
  readonly extendedRevoke: boolean;
}

/**
 * Whole OCSPResponse, signed by the delegate and checked before anybody sees it.
 *
 * @throws FemtoError HSM_UNAVAILABLE, DENIED (the newest CRL lists what would be `good`), RATE_LIMITED: tryLater
 */
export type AnswerSigner = (answer: AnswerToSign) => Promise<Buffer>;

/** Answers that are asked for at once share one call of the signer, and so one fsync of its journal. */
export function makeAnswerSigner(signer: Signer): AnswerSigner {
  const signOne = gather<SignRequest, SignResult>((requests) => signer.sign(requests), {
    rowsMax: ANSWERS_IN_CALL_MAX,
    runsMax: CALLS_AT_ONCE_MAX,
    patienceMs: PATIENCE_MS,
  });
  return async ({ responder, answers, serialHex, producedAt, nonce, extendedRevoke }) => {
    const responseData = buildResponseData({
      responderKeyHash: responder.keyHash,
      producedAt,
      responses: answers,
      ...(nonce !== undefined && { nonce }),
      extendedRevoke,
    });
    const name = `ocsp:${serialHex}:${answers[0]?.thisUpdate.toISOString()}`;
    const result = await signOne({ purpose: 'ocsp', keyLabel: responder.keyLabel, name, tbs: responseData });
    if (!result.ok) {
      throw new FemtoError(result.code, `The OCSP answer was not signed: ${result.message}`);
    }
    const hash = responder.algorithm === 'ecdsa-with-SHA384' ? 'sha384' : 'sha256';
    if (!verify(hash, responseData, responder.publicKey, result.signature)) {
      throw new FemtoError(
        'HSM_UNAVAILABLE',
        'The token gave an OCSP signature that does not verify; check the token.',
      );
    }
    const certs = [responder.certificateDer];
    return assembleOcspResponse({ responseData, alg: responder.algorithm, signature: result.signature, certs });
  };
}

const ANSWERS_IN_CALL_MAX = 64;
const CALLS_AT_ONCE_MAX = 4;
const PATIENCE_MS = 4;
