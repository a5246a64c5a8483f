import type { Transaction } from '../../platform/db/transaction.js';

/**
 * `open`: claimed, no answer yet. `waiting`: the request is kept, pollReq asks for it. `unconfirmed`: a certificate was
 * answered, certConf is awaited. `closed`: nothing more is expected.
 */
export type TransactionState = 'open' | 'waiting' | 'unconfirmed' | 'closed';

/** Nobody can take another's exchange: the key that protects its messages is part of its name (rules 4). */
export interface TransactionKey {
  readonly transactionId: Buffer;
  /** SHA-256 of the protecting public key, or of the MAC reference. */
  readonly protectionKey: Buffer;
}

/** A message that nobody answered for this long was lost with its server; longer than any use-case takes. */
export const CLAIM_STALE_MS = 30_000;

export interface StoredTransaction extends TransactionKey {
  readonly bodyKind: string;
  readonly state: TransactionState;
  /** SHA-256 of header and body of the message that opened it, and of the last one that was answered, or is being. */
  readonly firstHash: Buffer;
  readonly lastHash: Buffer;
  /** DER of the answer to `lastHash`; null while it is being made, and after a day. */
  readonly response: Buffer | null;
  /** DER of the opening message, without protection and extraCerts, while it waits. */
  readonly request: Buffer | null;
  /** senderNonce of our last answer, and when it was made. */
  readonly ourNonce: Buffer | null;
  readonly ourNonceAt: Date | null;
  readonly certificate: { readonly issuerId: number; readonly serial: Buffer; readonly notAfter: Date } | null;
  readonly claimedAt: Date;
}

/**
 * More than any unit's firmware asks for, and few enough that one key in wrong hands fills no disk. Repeats do not count:
 * whoever plays recordings must not be able to use up what is the unit's.
 */
export const OPENINGS_A_MINUTE = 120;

export interface Opening extends TransactionKey {
  readonly bodyKind: string;
  readonly hash: Buffer;
  /** Null where a MAC protects the exchange. */
  readonly certificate: SenderCertificate | null;
  readonly at: Date;
}

/** A certificate that protects messages of an exchange. */
export interface SenderCertificate {
  readonly der: Buffer;
  /** Null where it has no subjectKeyIdentifier. */
  readonly keyIdentifier: Buffer | null;
  /** A vendor's: itself, then the CAs that lead towards its root, DER. One of ours: empty. */
  readonly vendorChain: readonly Buffer[];
}

/** One that stood at the head of an exchange, as it was shown then. */
export interface SeenCertificate {
  readonly der: Buffer;
  /** What leads a vendor's to its root. */
  readonly others: readonly Buffer[];
}

/** What one answer leaves behind. */
export interface StoredAnswer {
  readonly state: Exclude<TransactionState, 'open'>;
  readonly response: Buffer;
  readonly ourNonce: Buffer;
  readonly at: Date;
  /** Set while it waits. */
  readonly request: Buffer | null;
  readonly certificate: StoredTransaction['certificate'];
}

/**
 * CMP's own memory, shared by all replicas. Every change is one guarded statement: of two writers one wins and the other
 * is told.
 */
export interface TransactionStore {
  /**
   * `opened`: the exchange is ours to answer. `known`: there is one of this name already. `too many`: the key has opened
   * {@link OPENINGS_A_MINUTE} in this minute, and nothing was written.
   */
  open(tx: Transaction, opening: Opening): Promise<'opened' | 'known' | 'too many'>;
  find(tx: Transaction, key: TransactionKey): Promise<StoredTransaction | null>;
  /**
   * Protecting certificates, under this key identifier, of the exchanges with this id; oldest first, a few at most. Whoever
   * opens another exchange under an id that was seen on the wire comes behind the one it was made for.
   */
  openedWith(
    tx: Transaction,
    by: { readonly transactionId: Buffer; readonly keyIdentifier: Buffer | null },
  ): Promise<SeenCertificate[]>;
  /** Vendors' certificates under this key identifier, of any exchange that is still on record; newest first, a few at most. */
  vendorCertificates(tx: Transaction, keyIdentifier: Buffer): Promise<SeenCertificate[]>;
  /** Takes over what another server began at `seenClaimedAt` and never answered. */
  takeOver(tx: Transaction, take: TransactionKey & { seenClaimedAt: Date; at: Date }): Promise<boolean>;
  /** A waiting exchange whose last nonce the caller signed: the next answer is ours to make. */
  claimPoll(
    tx: Transaction,
    poll: TransactionKey & { hash: Buffer; recipNonce: Buffer; at: Date },
  ): Promise<StoredTransaction | null>;
  /** False where another server answered, or took over, since `claimedAt`. */
  answer(tx: Transaction, answer: TransactionKey & StoredAnswer & { hash: Buffer; claimedAt: Date }): Promise<boolean>;
  /** certConf: false where the exchange is no longer unconfirmed under this nonce. */
  close(
    tx: Transaction,
    close: TransactionKey & { hash: Buffer; recipNonce: Buffer; response: Buffer; ourNonce: Buffer; at: Date },
  ): Promise<boolean>;
  /**
   * Forgets answers and waiting requests of exchanges begun in [from, until): their hashes stay. A few thousand at most.
   * @returns where the next run goes on; `until` when all is done
   */
  forgetAnswers(tx: Transaction, span: { from: Date; until: Date }): Promise<Date>;
  /** Removes exchanges begun before. */
  removeBefore(tx: Transaction, before: Date): Promise<number>;
}
