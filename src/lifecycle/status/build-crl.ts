import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { buildCrlTbs, crlEntries, lintCrl, readCrl } from '../../x509/crl.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import { readSpki } from '../../x509/spki.js';
import type { CrlIssuer, CrlStore, PublishedCrl } from './crl-store.js';
import { unexplainedAbsences } from './shrink-guard.js';

/** A TBSCertList that passed the guard and the lint: the only thing that is sent to the signer. */
export interface BuiltCrl {
  readonly tbsDer: Buffer;
  readonly algorithm: IssuerSignature;
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entryCount: number;
}

/**
 * The next complete CRL of one CA: everything held or revoked until one CRL period after its expiry, by serial, under a
 * number above both the database's and the one that lies published, so that a restored database never goes back.
 *
 * @param previous  the newest CRL that is known, from the database or the published file
 * @throws FemtoError STATE_CONFLICT `crl-would-shrink`: publish nothing
 * @see RFC 5280 section 5
 */
export async function buildCrl(
  store: CrlStore,
  tx: Transaction,
  input: { issuer: CrlIssuer; previous: PublishedCrl | null; now: Date; lifeSeconds: number },
): Promise<BuiltCrl> {
  const { issuer, previous, now, lifeSeconds } = input;
  const expiredBefore = new Date(now.getTime() - lifeSeconds * 1_000);
  const entries = await store.listed(tx, issuer.id, expiredBefore);
  if (previous) await refuseToShrink(store, tx, { issuer, previous, expiredBefore, entries });

  const number = Math.max(issuer.numberLast, Number(previous?.number ?? 0n)) + 1;
  const thisUpdate = wholeSecond(previous && previous.thisUpdate > now ? previous.thisUpdate : now);
  const nextUpdate = new Date(thisUpdate.getTime() + lifeSeconds * 1_000);
  const algorithm = algorithmOf(issuer);
  const tbsDer = buildCrlTbs({
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    alg: algorithm,
    number: BigInt(number),
    thisUpdate,
    nextUpdate,
    entries: entries.map((entry) => entry.entryDer),
  });
  lintCrl(readCrl(tbsDer, { tbsOnly: true }), {
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    ...(previous && { previousNumber: previous.number, previousThisUpdate: previous.thisUpdate }),
    lifeMaxSeconds: CRL_LIFE_SECONDS_MAX,
    entryCount: entries.length,
    scope: 'leaf',
  });
  return { tbsDer, algorithm, number, thisUpdate, nextUpdate, entryCount: entries.length };
}

async function refuseToShrink(
  store: CrlStore,
  tx: Transaction,
  {
    issuer,
    previous,
    expiredBefore,
    entries,
  }: {
    issuer: CrlIssuer;
    previous: PublishedCrl;
    expiredBefore: Date;
    entries: readonly { serial: Buffer }[];
  },
): Promise<void> {
  const present = new Set(entries.map(({ serial }) => serial.toString('hex')));
  const vanished: Buffer[] = [];
  for (const { serial } of crlEntries(readCrl(previous.der))) {
    if (!present.has(serial.toString('hex'))) vanished.push(serial);
  }
  if (vanished.length === 0) return;
  const witnesses = await store.witnesses(tx, issuer.id, vanished);
  const unexplained = unexplainedAbsences(
    vanished.map((serial) => serial.toString('hex')),
    witnesses,
    expiredBefore,
  );
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

export const CRL_WOULD_SHRINK = 'crl-would-shrink';

export function algorithmOf(issuer: { readonly spkiDer: Buffer }): IssuerSignature {
  return readSpki(issuer.spkiDer).algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
}

/** Times in CRLs have no fractions (RFC 5280 section 5.1.2.4). */
function wholeSecond(at: Date): Date {
  return new Date(Math.floor(at.getTime() / 1_000) * 1_000);
}

/** REV-3: 24 h for the CAs that are online. */
const CRL_LIFE_SECONDS_MAX = 86_400;
