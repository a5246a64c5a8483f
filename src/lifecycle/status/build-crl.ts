import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import {
  type CrlDraft,
  type CrlEntryCursor,
  compareEntries,
  draftCrl,
  type JudgedList,
  lintNextCrl,
  NO_LIST,
  readCrlHead,
} from '../../x509/crl.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import type { Spki } from '../../x509/spki.js';
import type { CrlBook } from './crl-book.js';
import type { CrlIssuer, CrlStore } from './crl-store.js';
import { unexplainedAbsences } from './shrink-guard.js';

/** A TBSCertList that passed the guard and the lint: the only thing that is sent to the signer. */
export interface BuiltCrl {
  readonly draft: CrlDraft;
  readonly algorithm: IssuerSignature;
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entryCount: number;
  /** The entries, in the memory of the draft: what the next list is compared with. */
  readonly judged: JudgedList;
}

/** The newest CRL that the world can have. */
export interface PreviousCrl {
  readonly number: bigint;
  readonly thisUpdate: Date;
  /** Content of revokedCertificates, in order of serial. */
  readonly entriesDer: Buffer;
  /** Of the same memory, for a list in the form of ours; without it every entry of the next one is looked at. */
  readonly judged?: JudgedList | undefined;
}

export interface BuildCrlDeps {
  readonly witnesses: CrlStore['witnesses'];
  readonly tx: Transaction;
  /** Called before each of many questions to the ledger: keeps what the caller holds. */
  readonly onWait: () => Promise<void>;
}

/**
 * The next complete CRL of one CA: everything held or revoked until one CRL period after its expiry, by serial, under a
 * number above both the database's and the one that lies published, so that a restored database never goes back.
 *
 * @throws FemtoError STATE_CONFLICT `crl-would-shrink` or `crl-too-large`: publish nothing
 * @see RFC 5280 section 5
 */
export async function buildCrl(
  deps: BuildCrlDeps,
  input: {
    issuer: CrlIssuer;
    spki: Spki;
    book: CrlBook;
    previous: PreviousCrl | null;
    now: Date;
    lifeSeconds: number;
    /** Where deltas of it will be (RFC 5280 section 5.2.6). */
    freshestCrlUrl?: string | undefined;
  },
): Promise<BuiltCrl> {
  const { issuer, spki, book, previous, now, lifeSeconds, freshestCrlUrl } = input;
  if (book.bytes > CRL_ENTRIES_BYTES_MAX) throw tooLarge(issuer, book);
  const number = Math.max(issuer.numberLast, Number(previous?.number ?? 0n)) + 1;
  const thisUpdate = wholeSecond(previous && previous.thisUpdate > now ? previous.thisUpdate : now);
  const nextUpdate = new Date(thisUpdate.getTime() + lifeSeconds * 1_000);
  const algorithm = algorithmOf(spki);
  const entryCount = book.count;
  const draft = draftCrl({
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    alg: algorithm,
    number: BigInt(number),
    thisUpdate,
    nextUpdate,
    entries: book.pieces(),
    ...(freshestCrlUrl !== undefined && { freshestCrlUrl }),
  });
  const expiredBefore = new Date(book.endedBefore * 1_000);
  // On the bytes that are to be signed, not on what they were made of.
  const head = readCrlHead(draft.tbsDer, { tbsOnly: true });
  const vanished: Buffer[] = [];
  const noteVanished = ({ serial }: CrlEntryCursor): void => void vanished.push(Buffer.from(serial));
  const expectation = {
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    ...(previous && { previousNumber: previous.number, previousThisUpdate: previous.thisUpdate }),
    lifeMaxSeconds: CRL_LIFE_SECONDS_MAX,
    entryCount,
    scope: CRL_SCOPE,
  };
  const judged = lintNextCrl(head, expectation, previous?.judged ?? NO_LIST, noteVanished);
  if (previous && !previous.judged)
    compareEntries(previous.entriesDer, head.entriesDer, { onlyInPrevious: noteVanished });
  await refuseToShrink(deps, { issuer, vanished, expiredBefore });
  return { draft, algorithm, number, thisUpdate, nextUpdate, entryCount, judged };
}

async function refuseToShrink(
  { witnesses, tx, onWait }: BuildCrlDeps,
  { issuer, vanished, expiredBefore }: { issuer: CrlIssuer; vanished: readonly Buffer[]; expiredBefore: Date },
): Promise<void> {
  const unexplained: string[] = [];
  for (let from = 0; from < vanished.length; from += WITNESSES_AT_ONCE) {
    const some = vanished.slice(from, from + WITNESSES_AT_ONCE);
    if (from > 0) await onWait();
    const found = await witnesses(tx, issuer.id, some);
    unexplained.push(
      ...unexplainedAbsences(
        some.map((serial) => serial.toString('hex')),
        found,
        expiredBefore,
      ),
    );
  }
  if (unexplained.length === 0) return;
  throw new FemtoError(
    'STATE_CONFLICT',
    `The next CRL of ${issuer.label} would lack ${unexplained.length} certificate(s) that nobody released and that have not expired; nothing is published. Compare revoked_certificate with the ledger before anything else.`,
    {
      facts: {
        rule: CRL_WOULD_SHRINK,
        issuer: issuer.label,
        missing: unexplained.length,
        serials: unexplained.slice(0, 20),
      },
    },
  );
}

function tooLarge(issuer: CrlIssuer, book: CrlBook): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    `The next CRL of ${issuer.label} would have ${book.count} entries in ${book.bytes} bytes, more than the signer takes; nothing is published. Issue from more CAs, or with shorter lives, so that fewer are revoked at a time.`,
    { facts: { rule: CRL_TOO_LARGE, issuer: issuer.label, entries: book.count, bytes: book.bytes } },
  );
}

export const CRL_WOULD_SHRINK = 'crl-would-shrink';
const CRL_TOO_LARGE = 'crl-too-large';

/** The signer takes a TBS of 64 MiB; what stands round the entries has less than a kilobyte or two. */
const CRL_ENTRIES_BYTES_MAX = 64 * 1_048_576 - 4_096;
/** Somebody should open another CA long before the limit. */
export const CRL_ENTRIES_BYTES_ALARM = 48 * 1_048_576;
/** Serials in one question to the ledger. */
const WITNESSES_AT_ONCE = 1_000;

export function algorithmOf(spki: Spki): IssuerSignature {
  return spki.algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
}

/** Times in CRLs have no fractions (RFC 5280 section 5.1.2.4). */
function wholeSecond(at: Date): Date {
  return new Date(Math.floor(at.getTime() / 1_000) * 1_000);
}

/** Of complete CRLs of CAs that certify no CA. */
export const CRL_SCOPE = 'leaf' as const;
/** REV-3: 24 h for the CAs that are online. */
const CRL_LIFE_SECONDS_MAX = 86_400;
