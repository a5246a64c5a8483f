import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { type AskingGateway, type Authorise, type Decision, STAGES } from '../../lifecycle/admission/index.js';
import { holdsSubscriberNumber, IDENTIFIER } from '../../lifecycle/registry/index.js';
import { FemtoError } from '../../platform/errors.js';
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
  /** As cells are registered; a subscriber's number is none, and is not kept (ADM-3). */
  cell: z
    .string()
    .regex(IDENTIFIER)
    .refine((cell) => !holdsSubscriberNumber(cell))
    .optional(),
});

/** Reads one request of a proved gateway, and answers it: JSON of a {@link SignedDecision}. */
export type AuthoriseHandler = (gateway: AskingGateway, request: IncomingMessage) => Promise<string>;

/**
 * `POST /v1/authorise`. The answer is a signed text: gateways check it with the decision certificate, which chains to the
 * Services Root.
 */
export function makeAuthoriseHandler({
  authorise,
  sign,
  canSign,
}: {
  readonly authorise: Authorise;
  readonly sign: DecisionSign;
  readonly canSign: () => boolean;
}): AuthoriseHandler {
  return async (gateway, request) => {
    const body = await readJsonBody(request, authoriseBody);
    // A process that cannot sign must not decide: its permit would be worth nothing and its confirm would stand.
    if (!canSign()) {
      throw new FemtoError('RETRY_LATER', 'This process has no certificate for its key yet; ask again in a moment.', {
        retryAfterSeconds: 1,
      });
    }
    const certificateDer = Buffer.from(body.certificate, 'base64');
    const answer = signed(await authorise(gateway, { ...body, certificateDer }), sign);
    // Those who were decided together are all signed before the first is written: one burst wakes the other side once.
    await turn();
    return answer;
  };
}

/** Resolves for all who ask in this turn of the event loop when the next begins. */
function turn(): Promise<void> {
  nextTurn ??= new Promise((done) => {
    setImmediate(() => {
      nextTurn = undefined;
      done();
    });
  });
  return nextTurn;
}
let nextTurn: Promise<void> | undefined;

interface SignedDecision {
  /** Canonical JSON of the decision; what is signed is exactly these bytes. */
  readonly decision: string;
  /** DER ECDSA P-256 with SHA-256, base64. */
  readonly signature: string;
  readonly certificate: string;
}

/** Written member by member: the certificate is most of it, and the same for a day. */
function signed(decision: Decision, sign: DecisionSign): string {
  const text = JSON.stringify({ version: 1, ...decision });
  const { signature, certificatePem } = sign(Buffer.from(text));
  const member = (name: keyof SignedDecision, json: string): string => `"${name}":${json}`;
  return `{${member('decision', JSON.stringify(text))},${member('signature', `"${signature.toString('base64')}"`)},${member('certificate', jsonOf(certificatePem))}}`;
}

/** The last text that was asked for, as JSON. */
function jsonOf(text: string): string {
  if (text !== lastText) [lastText, lastJson] = [text, JSON.stringify(text)];
  return lastJson;
}
let lastText = '';
let lastJson = '""';
