import { type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { FemtoError } from '../../platform/errors.js';
import type { Signer, SignRequest, SignResult } from '../../platform/signer.js';
import { assembleCertificate } from '../../x509/certificate.js';
import { serialHex } from '../../x509/serial.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import { importPublicKey, readSpki } from '../../x509/spki.js';
import type { Issuer } from '../model/index.js';
import type { Draft } from './draft-certificate.js';

/** What the token made of one draft. */
export type SignedOutcome =
  | { readonly ok: true; readonly der: Buffer }
  /** `broken`: the token answered with a signature that does not verify. Nothing from it may be stored (fault F12). */
  | { readonly ok: false; readonly error: FemtoError; readonly broken: boolean };

const verifyAsync = promisify(verify) as (
  algorithm: string,
  data: Buffer,
  key: KeyObject,
  signature: Buffer,
) => Promise<boolean>;

const HASH: Readonly<Record<IssuerSignature, string>> = {
  'ecdsa-with-SHA256': 'sha256',
  'ecdsa-with-SHA384': 'sha384',
};

/**
 * Signs linted TBS bytes and checks every signature over exactly those bytes under the issuer's own certificate key:
 * what verifies is what was linted, so a token or signer that signs anything else is found before anybody sees it. The
 * checks run on Node's thread pool; the main loop goes on answering.
 */
export function makeSignDrafts(signer: Signer): (drafts: readonly Draft[]) => Promise<SignedOutcome[]> {
  const keys = new Map<number, { issuer: Issuer; key: KeyObject }>();
  const keyOf = (issuer: Issuer): KeyObject => {
    const known = keys.get(issuer.id);
    if (known?.issuer === issuer) return known.key;
    const key = importPublicKey(readSpki(issuer.spkiDer));
    keys.set(issuer.id, { issuer, key });
    return key;
  };
  return async (drafts) => {
    const results = await signer.sign(drafts.map(signRequest));
    return Promise.all(drafts.map((draft, index) => check(draft, results[index], keyOf(draft.issuer))));
  };
}

function signRequest({ request, issuer, serial, linted }: Draft): SignRequest {
  const preissued = request.successor?.preissued === true;
  return {
    purpose: preissued ? 'preissue' : request.purpose,
    keyLabel: issuer.keyLabel,
    name: serialHex(serial),
    tbs: linted.tbsDer,
    ...(request.predecessorDer === undefined ? {} : { evidence: request.predecessorDer }),
  };
}

async function check(draft: Draft, result: SignResult | undefined, key: KeyObject): Promise<SignedOutcome> {
  if (result === undefined) return { ok: false, broken: true, error: brokenToken('no answer for this row') };
  if (!result.ok) return { ok: false, broken: false, error: refusalOf(result) };
  const { tbsDer } = draft.linted;
  if (!(await verifies(HASH[draft.issuerSignature], tbsDer, key, result.signature))) {
    return { ok: false, broken: true, error: brokenToken('the signature does not verify') };
  }
  return { ok: true, der: assembleCertificate(tbsDer, draft.issuerSignature, result.signature) };
}

async function verifies(hash: string, tbs: Buffer, key: KeyObject, signature: Buffer): Promise<boolean> {
  try {
    return await verifyAsync(hash, tbs, key, signature);
  } catch {
    return false; // a signature that cannot even be read is a wrong one
  }
}

function refusalOf(result: SignResult & { ok: false }): FemtoError {
  if (result.code === 'HSM_UNAVAILABLE') {
    return new FemtoError('HSM_UNAVAILABLE', 'The signing token does not answer; ask again shortly.', {
      facts: { signer: result.message },
      retryAfterSeconds: 1,
    });
  }
  if (result.code === 'RATE_LIMITED') {
    return new FemtoError('RETRY_LATER', 'The signer is at its rate cap; ask again shortly.', { retryAfterSeconds: 2 });
  }
  if (result.code === 'LIFETIME_EXCEEDS_CEILING') {
    return new FemtoError(
      'LIFETIME_EXCEEDS_CEILING',
      'The life asked for is above the signer’s ceiling; fix the profile.',
    );
  }
  if (result.code === 'UNKNOWN_ISSUER') {
    // Its row says so within seconds, and the next try goes to another CA.
    return new FemtoError('RETRY_LATER', 'This CA was just retired; ask again shortly.', {
      facts: { signer: result.code, reason: result.message },
      retryAfterSeconds: 10,
    });
  }
  // The request was ours, so a signer that denies it means that its file and our registry disagree.
  return new FemtoError('INTERNAL', 'The signer refused this certificate; compare its file with the issuer table.', {
    facts: { signer: result.code, reason: result.message },
  });
}

function brokenToken(fault: string): FemtoError {
  return new FemtoError(
    'HSM_UNAVAILABLE',
    'The token gave a wrong signature, so this CA is stopped; call its operator.',
    {
      facts: { fault },
      retryAfterSeconds: 300,
    },
  );
}
