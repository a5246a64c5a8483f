import { hash as digest } from 'node:crypto';
import { failpoint } from '../../platform/failpoint.js';
import { CmpFault, readPkiMessage } from '../../x509/cmp/index.js';
import type { Answer } from './answer.js';
import { answerInfo } from './answer-info.js';
import { checkHeader } from './check-header.js';
import { checkProfile } from './check-profile.js';
import { claimOpening } from './claim-message.js';
import type { CmpDeps, RaCredential } from './cmp-deps.js';
import { confirmCertificate } from './confirm-certificate.js';
import type { CmpCall, Exchange, ProvedMessage, Wish } from './exchange.js';
import { noteRefusal } from './note-refusal.js';
import { pollAnswer, readPoll } from './poll.js';
import { proveProtection, proveSender } from './prove-sender.js';
import { requestCertificate } from './request-certificate.js';
import { revokeCertificate } from './revoke-certificate.js';
import { speak } from './speak.js';

/**
 * One CMP message, from bytes to bytes: the order of everything. Until step 4 holds nothing is written, and what is thrown on
 * the way is answered by an `error` body; what a request is refused for afterwards is said in its own kind of answer.
 */
export async function serveMessage(deps: CmpDeps, ra: RaCredential, call: CmpCall): Promise<Buffer> {
  const exchange: Exchange = { call, header: undefined, bodyKind: 'unread', sender: null, isFresh: false };
  try {
    // 1. Read, bounded: nothing is looked up for junk.
    const message = readMessage(exchange);
    // 2. Header, against path and body.
    checkHeader(message, call.endpoint);
    // 3. The key that protects it, and whether it does.
    const held = await proveProtection(deps, message);
    const key = { transactionId: message.transactionId, protectionKey: held.protectionKey };
    // Beside step 4, which it does not need: a round trip less on the way of every renewal.
    const confirmed = message.body.kind === 'certConf' ? deps.store.find(deps.transactor.read, key) : null;
    confirmed?.catch(() => undefined);
    // 4. Whose key that is.
    const sender = await proveSender(deps, message, held, call.address);
    exchange.sender = sender;
    await checkProfile(deps, call.endpoint, message, sender.unit);
    const hash = digest('sha256', message.protectedDer, 'buffer');
    const proved: ProvedMessage = { exchange, message, sender, key, hash };
    // 5. to 7. transaction, body, answer.
    switch (message.body.kind) {
      case 'certConf':
        return await confirmCertificate(deps, ra, proved, await confirmed);
      case 'pollReq':
        return await servePoll(deps, ra, proved);
      case 'genm':
        return await serveInfo(deps, ra, proved);
      default:
        return await serveOpening(deps, ra, proved);
    }
  } catch (thrown) {
    if (thrown instanceof CmpFault) exchange.header ??= thrown.header;
    const { failInfo, text } = await noteRefusal(deps, exchange, thrown);
    const mac = exchange.sender?.kind === 'mac' ? exchange.sender : null;
    return speak(deps, ra, { body: { kind: 'error', status: 'rejection', failInfo, text }, to: exchange.header, mac })
      .der;
  }
}

function readMessage(exchange: Exchange) {
  const message = readPkiMessage(exchange.call.der);
  exchange.header = message;
  exchange.bodyKind = message.body.kind;
  return message;
}

/** Nothing changes, so nothing is remembered: asked again, it is answered again. */
async function serveInfo(deps: CmpDeps, ra: RaCredential, { message, sender }: ProvedMessage): Promise<Buffer> {
  const body = await answerInfo(deps, { message, sender });
  return speak(deps, ra, { body, to: message, mac: sender.kind === 'mac' ? sender : null }).der;
}

async function serveOpening(deps: CmpDeps, ra: RaCredential, proved: ProvedMessage): Promise<Buffer> {
  const claimed = await claimOpening(deps, proved);
  if (claimed.kind === 'answered') return claimed.response;
  const { exchange, message, sender } = proved;
  const answer = await answerOpening(deps, { exchange, message: message as Wish['message'], sender });
  return sayAndStore(deps, ra, proved, { answer, claimedAt: claimed.claimedAt, request: message.protectedDer });
}

async function servePoll(deps: CmpDeps, ra: RaCredential, proved: ProvedMessage): Promise<Buffer> {
  const poll = await readPoll(deps, ra, proved);
  if (poll.kind === 'answered') return poll.response;
  const { wish, claimedAt } = poll;
  const answer = pollAnswer(await requestCertificate(deps, wish));
  return sayAndStore(deps, ra, proved, { answer, claimedAt, request: wish.message.protectedDer });
}

async function answerOpening(deps: CmpDeps, wish: Wish): Promise<Answer> {
  return wish.message.body.kind === 'rr' ? revokeCertificate(deps, wish) : requestCertificate(deps, wish);
}

/** Stored before it is sent: a repeat, to whichever replica, gets the same bytes. */
async function sayAndStore(
  deps: CmpDeps,
  ra: RaCredential,
  { message, sender, key, hash }: ProvedMessage,
  { answer, claimedAt, request }: { answer: Answer; claimedAt: Date; request: Buffer },
): Promise<Buffer> {
  const { body, next, certificate = null, extraCerts = [], implicitConfirm = false } = answer;
  const mac = sender.kind === 'mac' ? sender : null;
  const { der, nonce, at } = speak(deps, ra, { body, to: message, mac, extraCerts, implicitConfirm });
  await failpoint('cmp-before-answer');
  const stored = await deps.store.answer(deps.transactor.read, {
    ...key,
    hash,
    claimedAt,
    state: next,
    response: der,
    ourNonce: nonce,
    at,
    request: next === 'waiting' ? request : null,
    certificate,
  });
  if (stored) return der;
  // We were so slow that another server took the message over: its answer is the one that counts.
  const known = await deps.store.find(deps.transactor.read, key);
  if (known?.lastHash.equals(hash) && known.response !== null) return known.response;
  throw new CmpFault('systemUnavail', 'the message is being answered by another server');
}
