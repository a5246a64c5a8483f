import { CmpFault, type PkiMessage, type ResponseBody, readPkiMessage } from '../../x509/cmp/index.js';
import type { Answer } from './answer.js';
import { type Claimed, claimRepeat } from './claim-message.js';
import type { CmpDeps, RaCredential } from './cmp-deps.js';
import { isNonce } from './confirm-certificate.js';
import type { ProvedMessage, Wish } from './exchange.js';
import { CRMF_ID, P10CR_ID } from './request-certificate.js';
import { provedSince } from './sender.js';
import { speak } from './speak.js';
import type { StoredTransaction } from './transaction-store.js';

/** What a pollReq is to be answered with. */
export type Poll =
  | { readonly kind: 'answered'; readonly response: Buffer }
  /** The kept request is to be tried again, by a sender who is known to have had its key since our nonce. */
  | { readonly kind: 'again'; readonly wish: Wish; readonly claimedAt: Date };

/**
 * pollReq. While the request waits this is the live proof that the fork table asks for: the old key's signature over the
 * nonce of our last answer, so it is tried again as of that nonce's time (rules section 4). Where the answer is final
 * already, the client lost it, and gets it once more.
 *
 * @throws CmpFault badRequest, badRecipientNonce
 */
export async function readPoll(deps: CmpDeps, ra: RaCredential, proved: ProvedMessage): Promise<Poll> {
  const { message, key, hash } = proved;
  const { body, recipNonce = Buffer.alloc(0) } = message;
  const [certReqId, ...more] = body.kind === 'pollReq' ? body.certReqIds : [];
  if ((certReqId !== CRMF_ID && certReqId !== P10CR_ID) || more.length > 0) {
    throw new CmpFault('badRequest', 'exactly one certReqId is polled for: 0, or -1 after p10cr');
  }
  const at = deps.clock.now();
  const claimed = await deps.store.claimPoll(deps.transactor.read, { ...key, hash, recipNonce, at });
  if (claimed !== null) {
    proved.exchange.isFresh = true;
    return again(proved, claimed, at);
  }
  const known = await deps.store.find(deps.transactor.read, key);
  if (known === null) throw new CmpFault('badRequest', 'there is no such transaction under this protection');
  switch (known.state) {
    case 'open':
      throw new CmpFault('badRequest', 'the transaction does not wait');
    case 'waiting': {
      if (known.lastHash.equals(hash)) return fromRepeat(proved, known, await claimRepeat(deps, proved, known));
      if (!isNonce(recipNonce, known.ourNonce)) {
        throw new CmpFault('badRecipientNonce', 'the recipNonce is not the senderNonce of the last answer');
      }
      // Another pollReq under the same nonce is being answered: this one changes nothing, not even the nonce.
      const busy: ResponseBody = { kind: 'pollRep', certReqId, checkAfterSeconds: BUSY_SECONDS };
      return { kind: 'answered', response: say(deps, ra, proved, busy, known.ourNonce).der };
    }
    default:
      return { kind: 'answered', response: sayAgain(deps, ra, proved, known) };
  }
}

/** A pollRep where the request waits on. */
export function pollAnswer(answer: Answer): Answer {
  const { body, next, checkAfterSeconds = BUSY_SECONDS } = answer;
  if (next !== 'waiting' || !('certReqId' in body)) return answer;
  return { ...answer, body: { kind: 'pollRep', certReqId: body.certReqId, checkAfterSeconds } };
}

function again(proved: ProvedMessage, known: StoredTransaction, claimedAt: Date): Poll {
  const { request, ourNonceAt } = known;
  if (request === null || ourNonceAt === null) throw new CmpFault('badRequest', 'the request is kept no longer');
  // Kept without its protection: that was checked, and its header, when it opened the exchange.
  const message = readPkiMessage(request) as Wish['message'];
  const sender = provedSince(proved.sender, ourNonceAt);
  return { kind: 'again', wish: { exchange: proved.exchange, message, sender }, claimedAt };
}

function fromRepeat(proved: ProvedMessage, known: StoredTransaction, claimed: Claimed): Poll {
  return claimed.kind === 'answered' ? claimed : again(proved, known, claimed.claimedAt);
}

/**
 * The final answer, under the nonce it had: a certConf over either copy stands, and nothing in the row changes, so that a
 * recorded pollReq disturbs nobody.
 */
function sayAgain(deps: CmpDeps, ra: RaCredential, proved: ProvedMessage, known: StoredTransaction): Buffer {
  if (known.response === null) throw new CmpFault('badRequest', 'the answer is kept no longer');
  const said = readPkiMessage(known.response);
  const { body } = said;
  const [response] = body.kind === 'ip' || body.kind === 'cp' || body.kind === 'kup' ? body.responses : [];
  if (response === undefined || !('caPubs' in body)) {
    throw new CmpFault('certConfirmed', 'the transaction has ended; there is nothing to poll for');
  }
  const { status, certReqId, certificateDer } = response;
  const [failInfo] = status.failInfo;
  const once: ResponseBody = {
    kind: body.kind,
    certReqId,
    status: status.status,
    ...(status.text[0] === undefined ? {} : { text: status.text[0] }),
    ...(failInfo === undefined ? {} : { failInfo }),
    ...(certificateDer === undefined ? {} : { certificateDer }),
    ...(body.caPubs.length === 0 ? {} : { caPubs: body.caPubs }),
  };
  return say(deps, ra, proved, once, known.ourNonce, said).der;
}

function say(
  deps: CmpDeps,
  ra: RaCredential,
  { message, sender }: ProvedMessage,
  body: ResponseBody,
  senderNonce: Buffer | null,
  said?: PkiMessage,
) {
  const ownChain = 1 + ra.chain.length;
  return speak(deps, ra, {
    body,
    to: message,
    mac: sender.kind === 'mac' ? sender : null,
    ...(senderNonce === null ? {} : { senderNonce }),
    ...(said === undefined
      ? {}
      : { extraCerts: said.extraCerts.slice(ownChain), implicitConfirm: said.asksImplicitConfirm }),
  });
}

const BUSY_SECONDS = 2;
