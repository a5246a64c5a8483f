import type { OcspSigner } from '../../lifecycle/status/index.js';
import { FemtoError } from '../../platform/errors.js';
import type { Signer } from '../../platform/signer.js';
import { assembleOcspResponse, buildResponseData, type OcspAnswer } from '../../x509/ocsp.js';
import { verifySignature } from '../../x509/signature-algorithm.js';

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
export async function signAnswer(signer: Signer, input: AnswerToSign): Promise<Buffer> {
  const { responder, answers, serialHex, producedAt, nonce, extendedRevoke } = input;
  const responseData = buildResponseData({
    responderKeyHash: responder.keyHash,
    producedAt,
    responses: answers,
    ...(nonce !== undefined && { nonce }),
    extendedRevoke,
  });
  const name = `ocsp:${serialHex}:${answers[0]?.thisUpdate.toISOString()}`;
  const [result] = await signer.sign([{ purpose: 'ocsp', keyLabel: responder.keyLabel, name, tbs: responseData }]);
  if (!result?.ok) {
    throw new FemtoError(
      result?.code ?? 'HSM_UNAVAILABLE',
      `The OCSP answer was not signed: ${result?.message ?? 'no answer'}`,
    );
  }
  if (!verifySignature(responder.algorithm, responseData, responder.spki, result.signature)) {
    throw new FemtoError('HSM_UNAVAILABLE', 'The token gave an OCSP signature that does not verify; check the token.');
  }
  const certs = [responder.certificateDer];
  return assembleOcspResponse({ responseData, alg: responder.algorithm, signature: result.signature, certs });
}
