import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import {
  type AdmissionDeps,
  type AskingGateway,
  authorise,
  type Decision,
  STAGES,
} from '../../lifecycle/admission/index.js';
import { readJsonBody } from '../rest/body.js';
import type { DecisionSign } from './decision-sign.js';

const authoriseBody = z.strictObject({
  stage: z.enum(STAGES),
  /** DER certificate, base64. */
  certificate: z.base64().min(64).max(32_768),
  identity: z.string().min(1).max(253),
  address: z.string().min(2).max(64),
  keyProved: z.boolean(),
  nonce: z.string().regex(/^(?:[0-9a-f]{2}){16,64}$/),
});

/**
 * `POST /v1/authorise`. The answer is a signed text: gateways check it with the decision certificate, which chains to the
 * Services Root.
 */
export async function answerAuthorise(
  { admission, sign }: { readonly admission: AdmissionDeps; readonly sign: DecisionSign },
  gateway: AskingGateway,
  request: IncomingMessage,
): Promise<SignedDecision> {
  const body = await readJsonBody(request, authoriseBody);
  // A process that cannot sign must not decide: its permit would be worth nothing and its confirm would stand.
  sign(Buffer.alloc(0));
  const decision = await authorise(admission, gateway, {
    ...body,
    certificateDer: Buffer.from(body.certificate, 'base64'),
  });
  return signed(decision, sign);
}

export interface SignedDecision {
  /** Canonical JSON of the decision; what is signed is exactly these bytes. */
  readonly decision: string;
  /** DER ECDSA P-256 with SHA-256, base64. */
  readonly signature: string;
  readonly certificate: string;
}

function signed(decision: Decision, sign: DecisionSign): SignedDecision {
  const text = JSON.stringify({ version: 1, ...decision });
  const { signature, certificatePem } = sign(Buffer.from(text));
  return { decision: text, signature: signature.toString('base64'), certificate: certificatePem };
}
