import { FemtoError } from '../../platform/errors.js';
import { CmpFault } from '../../x509/cmp/index.js';
import type { CmpDeps } from './cmp-deps.js';
import type { ProvedMessage } from './exchange.js';
import { keptPath } from './kept-path.js';
import type { SignedSender } from './sender.js';
import { CLAIM_STALE_MS, type SenderCertificate, type StoredTransaction } from './transaction-store.js';

/** Either the answer that this very message got before, or the duty to make one. */
export type Claimed =
  | { readonly kind: 'answered'; readonly response: Buffer }
  | { readonly kind: 'ours'; readonly claimedAt: Date };

/**
 * Opens an exchange. Nobody else can be in it: its name holds the key that protects its messages (rules 4).
 *
 * @throws CmpFault transactionIdInUse: another message under this name, or this one, whose answer is past; systemUnavail
 * @throws FemtoError RATE_LIMITED
 */
export async function claimOpening(deps: CmpDeps, proved: ProvedMessage): Promise<Claimed> {
  const { key, hash, message, sender, exchange } = proved;
  const at = deps.clock.now();
  const certificate = sender.kind === 'signature' ? certificateOf(sender) : null;
  const opening = { ...key, bodyKind: message.body.kind, hash, certificate, at };
  const outcome = await deps.store.open(deps.transactor.read, opening);
  if (outcome === 'too many') {
    throw new FemtoError('RATE_LIMITED', 'This key opens too many exchanges; wait for the next minute.', {
      retryAfterSeconds: 60 - at.getUTCSeconds(),
    });
  }
  if (outcome === 'opened') {
    exchange.isFresh = true;
    return { kind: 'ours', claimedAt: at };
  }
  const known = await deps.store.find(deps.transactor.read, key);
  if (known === null) throw new CmpFault('systemUnavail', 'the transaction ended just now');
  if (!known.firstHash.equals(hash)) throw inUse();
  return claimRepeat(deps, proved, known);
}

/**
 * The same message again: a client that lost its answer, a proxy, or a recording. Whoever it is gets what was said before;
 * where the first try is still under way it is waited for, and where its server is gone it is taken over.
 */
export async function claimRepeat(deps: CmpDeps, proved: ProvedMessage, seen: StoredTransaction): Promise<Claimed> {
  const { key, hash } = proved;
  let known = seen;
  for (let waitedMs = 0; ; waitedMs += SIBLING_PAUSE_MS) {
    if (!known.lastHash.equals(hash)) throw inUse();
    if (known.response !== null) return { kind: 'answered', response: known.response };
    if (known.state === 'closed' || known.state === 'unconfirmed') throw inUse();
    const at = deps.clock.now();
    if (at.getTime() - known.claimedAt.getTime() > CLAIM_STALE_MS) {
      const take = { ...key, seenClaimedAt: known.claimedAt, at };
      if (await deps.store.takeOver(deps.transactor.read, take)) return { kind: 'ours', claimedAt: at };
    }
    if (waitedMs >= SIBLING_WAIT_MS) throw new CmpFault('systemUnavail', 'the same message is being answered');
    await deps.pause(SIBLING_PAUSE_MS);
    const again = await deps.store.find(deps.transactor.read, key);
    if (again === null) throw new CmpFault('systemUnavail', 'the transaction ended just now');
    known = again;
  }
}

function certificateOf({ credential, chain }: SignedSender): SenderCertificate {
  const { certificate, kind } = credential;
  const { der, ski = null } = certificate;
  return { der, keyIdentifier: ski, vendorChain: kind === 'vendor' ? [der, ...keptPath(certificate, chain)] : [] };
}

function inUse(): CmpFault {
  return new CmpFault('transactionIdInUse', 'the transactionID was used before; take a new one');
}

/** Longer than a slow token takes. */
const SIBLING_WAIT_MS = 6_000;
const SIBLING_PAUSE_MS = 100;
