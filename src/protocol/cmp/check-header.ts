import { type CmpBody, CmpFault, type PkiMessage } from '../../x509/cmp/index.js';
import { checkOperation, type Endpoint } from './endpoint.js';

/** A message whose header may be answered as it stands. */
export type CheckedMessage = PkiMessage & {
  readonly transactionId: Buffer;
  readonly senderNonce: Buffer;
  readonly body: ServedBody;
};

export type ServedBody = CmpBody & { readonly kind: OpeningKind | FollowUpKind };
export type OpeningKind = 'ir' | 'cr' | 'kur' | 'p10cr' | 'rr' | 'genm';
export type FollowUpKind = 'certConf' | 'pollReq';

/**
 * What can be said of a message before anything is computed or looked up: rows 1 to 5 of RFC 9483 section 3.5, in its order.
 *
 * messageTime (row 7) is never judged: units boot with clocks of 1970, no answer of ours depends on theirs, and what makes a
 * message fresh is our nonce under its signature.
 *
 * @throws CmpFault
 */
export function checkHeader(message: PkiMessage, endpoint: Endpoint): asserts message is CheckedMessage {
  const { pvno, transactionId, senderNonce, recipNonce, body } = message;
  if (transactionId === undefined || transactionId.length === 0) {
    throw new CmpFault('badDataFormat', 'the transactionID is missing');
  }
  if (pvno !== 2 && pvno !== 3) throw new CmpFault('unsupportedVersion', 'pvno must be 2 or 3', { facts: { pvno } });
  if (!SERVED.has(body.kind)) {
    throw new CmpFault('badRequest', 'this kind of message is not served', { facts: { body: body.kind } });
  }
  checkOperation(endpoint, body);
  if (senderNonce === undefined || senderNonce.length < NONCE_OCTETS_MIN) {
    throw new CmpFault('badSenderNonce', 'the senderNonce must have 16 octets or more');
  }
  if (isOpening(body.kind) && recipNonce !== undefined) {
    throw new CmpFault('badRecipientNonce', 'the first message of a transaction has no recipNonce');
  }
  if (!isOpening(body.kind) && recipNonce === undefined) {
    throw new CmpFault('badRecipientNonce', 'the recipNonce is missing');
  }
}

export function isOpening(kind: CmpBody['kind']): kind is OpeningKind {
  return OPENING.has(kind);
}

const NONCE_OCTETS_MIN = 16;
const OPENING: ReadonlySet<string> = new Set<OpeningKind>(['ir', 'cr', 'kur', 'p10cr', 'rr', 'genm']);
const SERVED: ReadonlySet<string> = new Set([...OPENING, 'certConf', 'pollReq'] satisfies string[]);
