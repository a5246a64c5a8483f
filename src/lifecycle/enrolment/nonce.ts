import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock, RandomBytes } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { IssuedNonce } from './enrolment.js';

/** Ten minutes (requirements section 3); spent nonces are remembered as long, so a nonce never outlives its memory. */
export const NONCE_LIFE_MS = 600_000;

/** A nonce of ours, for this credential, young enough. Not yet spent: the database decides that. */
export interface VerifiedNonce {
  /** SHA-256 of the nonce: what `nonce_spent` keeps. */
  readonly hash: Buffer;
  /** When we gave it out: a signature over it is live proof only against events recorded before (rules 4). */
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

export interface Nonces {
  issue(credential: { readonly spkiHash: Buffer }): IssuedNonce;
  /** @throws FemtoError NONCE_BAD missing, malformed, aged, altered, or given to another credential */
  verify(nonce: string | undefined, credential: { readonly spkiHash: Buffer }): VerifiedNonce;
}

/**
 * Nonces carry their own proof, so that giving one out writes nothing and every replica can judge it:
 * `version ‖ u48 issue time (ms) ‖ 12 random bytes ‖ HMAC-SHA256 over all of it and the credential's SPKI hash`, in hex.
 *
 * @param deps.key  32 bytes, shared by the replicas
 */
export function makeNonces(deps: { key: Buffer; clock: Clock; random: RandomBytes }): Nonces {
  const macOf = (head: Buffer, spkiHash: Buffer): Buffer =>
    createHmac('sha256', deps.key).update('femtopki-nonce-v1').update(head).update(spkiHash).digest();
  return {
    issue: ({ spkiHash }) => {
      const issuedAtMs = deps.clock.now().getTime();
      const head = Buffer.alloc(HEAD_BYTES);
      head[0] = VERSION;
      head.writeUIntBE(issuedAtMs, 1, 6);
      deps.random(RANDOM_BYTES).copy(head, 7);
      return {
        nonce: Buffer.concat([head, macOf(head, spkiHash)]).toString('hex'),
        expiresAt: new Date(issuedAtMs + NONCE_LIFE_MS),
      };
    },
    verify: (nonce, { spkiHash }) => {
      if (nonce === undefined) throw nonceBad('is missing from the challengePassword');
      if (!NONCE_TEXT.test(nonce)) throw nonceBad('is not one of ours');
      const bytes = Buffer.from(nonce, 'hex');
      const head = bytes.subarray(0, HEAD_BYTES);
      if (head[0] !== VERSION || !timingSafeEqual(bytes.subarray(HEAD_BYTES), macOf(head, spkiHash))) {
        throw nonceBad('was not given to this credential');
      }
      const issuedAtMs = head.readUIntBE(1, 6);
      const ageMs = deps.clock.now().getTime() - issuedAtMs;
      // A small negative age is another replica's clock; a large one is a clock that was set back.
      if (ageMs > NONCE_LIFE_MS || ageMs < -REPLICA_SKEW_MS) throw nonceBad('is too old');
      return {
        hash: createHash('sha256').update(bytes).digest(),
        issuedAt: new Date(issuedAtMs),
        expiresAt: new Date(issuedAtMs + NONCE_LIFE_MS),
      };
    },
  };
}

export function nonceBad(fault: string): FemtoError {
  return new FemtoError('NONCE_BAD', `The nonce ${fault}; ask for a new one with the same credential.`, {
    facts: { fault },
  });
}

const VERSION = 1;
const RANDOM_BYTES = 12;
const HEAD_BYTES = 1 + 6 + RANDOM_BYTES;
const MAC_BYTES = 32;
const NONCE_TEXT = new RegExp(`^[0-9a-f]{${2 * (HEAD_BYTES + MAC_BYTES)}}$`);
const REPLICA_SKEW_MS = 5_000;
