import { verify } from 'node:crypto';
import type { OcspSigner } from '../../lifecycle/status/index.js';
import { FemtoError } from '../../platform/errors.js';
import { gather } from '../../platform/gather.js';
import type { Signer, SignRequest, SignResult } from '../../platform/signer.js';
import { buildResponseData, type OcspAnswer } from '../../x509/ocsp.js';

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

export interface SignedAnswer {
  /** What was signed, DER. */
  readonly responseData: Buffer;
  /** Ecdsa-Sig-Value over it, DER. */
  readonly signature: Buffer;
}

/**
 * ResponseData, signed by the delegate.
 *
 * One answer of each call to the signer is checked before any of them leaves, and all of them where that one is bad: a lone
 * answer always, under load one of {@link ANSWERS_IN_CALL_MAX}. Whoever asked checks his own, as RFC 6960 section 3.2
 * wants; what is kept is checked before anybody else gets it ({@link ReplyCache}).
 *
 * @throws FemtoError HSM_UNAVAILABLE, DENIED (the newest CRL lists what would be `good`), RATE_LIMITED: tryLater
 */
export type AnswerSigner = (answer: AnswerToSign) => Promise<SignedAnswer>;

interface Row {
  readonly responder: OcspSigner;
  readonly request: SignRequest;
}

/** Answers that are asked for at once share one call of the signer, and so one fsync of its journal. */
export function makeAnswerSigner(signer: Signer): AnswerSigner {
  const signOne = gather<Row, SignResult>(
    async (rows) => checkOne(rows, await signer.sign(rows.map(({ request }) => request))),
    { rowsMax: ANSWERS_IN_CALL_MAX, runsMax: CALLS_AT_ONCE_MAX, patienceMs: PATIENCE_MS },
  );
  return async ({ responder, answers, serialHex, producedAt, nonce, extendedRevoke }) => {
    const responseData = buildResponseData({
      responderKeyHash: responder.keyHash,
      producedAt,
      responses: answers,
      ...(nonce !== undefined && { nonce }),
      extendedRevoke,
    });
    const name = `ocsp:${serialHex}:${answers[0]?.thisUpdate.toISOString()}`;
    const request: SignRequest = { purpose: 'ocsp', keyLabel: responder.keyLabel, name, tbs: responseData };
    const result = await signOne({ responder, request });
    if (!result.ok) {
      throw new FemtoError(result.code, `The OCSP answer was not signed: ${result.message}`);
    }
    return { responseData, signature: result.signature };
  };
}

/** Is this the delegate's signature? */
export function isSignedBy({ algorithm, publicKey }: OcspSigner, { responseData, signature }: SignedAnswer): boolean {
  return verify(algorithm === 'ecdsa-with-SHA384' ? 'sha384' : 'sha256', responseData, publicKey, signature);
}

function checkOne(rows: readonly Row[], results: readonly SignResult[]): readonly SignResult[] {
  const any = Math.floor(Math.random() * rows.length);
  return isGenuine(rows[any], results[any])
    ? results
    : results.map((result, index) => (!result.ok || isGenuine(rows[index], result) ? result : BAD_SIGNATURE));
}

function isGenuine(row: Row | undefined, result: SignResult | undefined): boolean {
  if (row === undefined || result?.ok !== true) return false;
  return isSignedBy(row.responder, { responseData: row.request.tbs, signature: result.signature });
}

const BAD_SIGNATURE: SignResult = {
  ok: false,
  code: 'HSM_UNAVAILABLE',
  message: 'the token gave a signature that does not verify; check the token.',
};
const ANSWERS_IN_CALL_MAX = 64;
const CALLS_AT_ONCE_MAX = 4;
const PATIENCE_MS = 4;
