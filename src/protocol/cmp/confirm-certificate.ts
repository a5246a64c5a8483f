import { timingSafeEqual } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { type CertStatusView, CmpFault, certificateAnswered, matchesCertHash } from '../../x509/cmp/index.js';
import type { CmpDeps, RaCredential } from './cmp-deps.js';
import type { ProvedMessage } from './exchange.js';
import { CRMF_ID, P10CR_ID } from './request-certificate.js';
import { provedSince } from './sender.js';
import { speak } from './speak.js';
import type { StoredTransaction } from './transaction-store.js';

/**
 * certConf: the unit's own word on its certificate, signed by the key that asked for it over our last nonce (REN-3). The
 * certificate's fate and pkiConf are stored in one commit.
 *
 * @param known  the exchange under the key that protects the message
 * @returns pkiConf, in both cases
 * @throws CmpFault; FemtoError as Renewal.settleIssued. The exchange then stands as it was.
 */
export async function confirmCertificate(
  deps: CmpDeps,
  ra: RaCredential,
  proved: ProvedMessage,
  known: StoredTransaction | null,
): Promise<Buffer> {
  const { message, key, hash, sender, exchange } = proved;
  if (known === null) throw new CmpFault('badRequest', 'there is no such transaction under this protection');
  if (known.lastHash.equals(hash) && known.response !== null) return known.response;
  const { certificate, ourNonce, ourNonceAt } = checkUnconfirmed(known);
  if (!isNonce(message.recipNonce, ourNonce)) {
    throw new CmpFault('badRecipientNonce', 'the recipNonce is not the senderNonce of the last answer');
  }
  exchange.isFresh = true;
  const accepted = await readVerdict(deps, proved, known, certificate);
  // A bootstrap certificate has no place in a lineage yet: there is nothing to confirm, and no fork to prevent. Nor is there
  // anything that a unit could do about it: the same key would be given the same one again.
  if (!accepted && sender.kind === 'mac') {
    throw new CmpFault('notAuthorized', 'a bootstrap certificate stands until a depot ends it');
  }
  const mac = sender.kind === 'mac' ? sender : null;
  const { der, nonce, at } = speak(deps, ra, { body: { kind: 'pkiConf' }, to: message, mac });
  const ending = { ...key, hash, recipNonce: ourNonce, response: der, ourNonce: nonce, at };
  let isClosed = false;
  const close = async (tx: Transaction): Promise<void> => {
    isClosed = await deps.store.close(tx, ending);
  };
  const settler = provedSince(sender, ourNonceAt);
  if (settler.kind === 'mac') await close(deps.transactor.read);
  else {
    const { credential } = settler;
    await deps.renewal.settleIssued({ credential, certificate, accepted, withSettled: close });
  }
  if (isClosed) return der;
  const after = await deps.store.find(deps.transactor.read, key);
  if (after?.lastHash.equals(hash) && after.response !== null) return after.response;
  throw new CmpFault('certConfirmed', 'the certificate was confirmed or refused before');
}

/** Constant time; lengths are no secret. */
export function isNonce(sent: Buffer | undefined, ours: Buffer | null): boolean {
  return sent !== undefined && ours !== null && sent.length === ours.length && timingSafeEqual(sent, ours);
}

type Unconfirmed = {
  readonly certificate: NonNullable<StoredTransaction['certificate']>;
  readonly ourNonce: Buffer;
  readonly ourNonceAt: Date;
};

function checkUnconfirmed({ state, certificate, ourNonce, ourNonceAt }: StoredTransaction): Unconfirmed {
  if (state === 'closed' && certificate !== null) {
    throw new CmpFault('certConfirmed', 'the certificate was confirmed or refused before');
  }
  if (state !== 'unconfirmed' || certificate === null || ourNonce === null || ourNonceAt === null) {
    throw new CmpFault('badRequest', 'the transaction has no certificate to confirm');
  }
  return { certificate, ourNonce, ourNonceAt };
}

/** @returns false where the unit refuses its certificate */
async function readVerdict(
  deps: CmpDeps,
  { message, sender }: ProvedMessage,
  known: StoredTransaction,
  certificate: Unconfirmed['certificate'],
): Promise<boolean> {
  const status = onlyStatus(message.body);
  if (status.certReqId !== (known.bodyKind === 'p10cr' ? P10CR_ID : CRMF_ID)) {
    throw new CmpFault('badCertId', 'the certReqId is not that of the request');
  }
  // In the answer as long as that is kept: one read of the record less on the way of every renewal.
  const answered = known.response === null ? undefined : certificateAnswered(known.response);
  const der = answered ?? (await deps.certificateOf(certificate));
  if (der === null || !matchesCertHash(status, der)) {
    throw new CmpFault('badCertId', 'the certHash is not that of the certificate that was sent');
  }
  switch (status.statusInfo?.status) {
    case 'accepted':
    case 'grantedWithMods':
      return true;
    case 'rejection':
      return false;
    case undefined: {
      const { tolerances } = await deps.registry.modelOf(deps.transactor.read, sender.unit);
      if (tolerances.has('certconf-without-status')) return true;
      throw new CmpFault('badRequest', 'the certConf must say with statusInfo whether the certificate is accepted');
    }
    default:
      throw new CmpFault('badRequest', 'a certConf accepts or rejects');
  }
}

function onlyStatus(body: ProvedMessage['message']['body']): CertStatusView {
  const [only, ...more] = body.kind === 'certConf' ? body.statuses : [];
  if (only === undefined || more.length > 0) throw new CmpFault('badRequest', 'exactly one CertStatus is expected');
  return only;
}
