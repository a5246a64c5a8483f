import { createHmac, hash, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { TAG } from '../der.js';
import { badDer, type DerReader, oidValue, readDer, smallIntegerValue } from '../der-reader.js';
import { OID } from '../oids.js';
import { faultAs } from './cmp-fault.js';

export type MacHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

interface MacParameters {
  /** The whole AlgorithmIdentifier: an answer under the same secret reuses it. */
  readonly der: Buffer;
  readonly salt: Buffer;
  readonly rounds: number;
  readonly hmac: MacHash;
}

/** A MAC protection algorithm whose every parameter was checked. */
export type MacAlgorithm =
  | (MacParameters & { readonly kind: 'pbm'; readonly owf: MacHash })
  | (MacParameters & { readonly kind: 'pbmac1'; readonly prf: MacHash; readonly keyOctets: number });

const SALT_OCTETS = { min: 8, max: 128 } as const;
/** The upper bound is what one stranger who saw a reference may make us compute: about 8 ms of one core. */
const ROUNDS = { min: 100, max: 10_000 } as const;
const KEY_OCTETS = { min: 16, max: 64 } as const;

const DIGESTS: Readonly<Record<string, MacHash>> = {
  [OID.sha256]: 'sha256',
  [OID.sha384]: 'sha384',
  [OID.sha512]: 'sha512',
};
const HMACS: Readonly<Record<string, MacHash>> = {
  [OID.hmacWithSha256]: 'sha256',
  [OID.hmacWithSha384]: 'sha384',
  [OID.hmacWithSha512]: 'sha512',
};
/** What OpenSSL sends when nobody says otherwise. No collision helps against an HMAC, so SHA-1 stands here and nowhere else. */
const PBM_HMACS: Readonly<Record<string, MacHash>> = {
  ...HMACS,
  [OID.pbmHmacSha1]: 'sha1',
  [OID.hmacWithSha1]: 'sha1',
};
const OCTETS: Readonly<Record<MacHash, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };

/** Is this the OID of a MAC that CMP protects with? */
export function isMacAlgorithm(oid: string): boolean {
  return oid === OID.passwordBasedMac || oid === OID.pbmac1;
}

/**
 * @param algorithmDer  protectionAlg of a message
 * @throws CmpFault badAlg for another algorithm, a hash we refuse, or parameters out of bounds
 * @see RFC 9810 section 5.1.3.1 (PBM); RFC 8018 section 7.1 and appendix A.5 (PBMAC1)
 */
export function readMacAlgorithm(algorithmDer: Buffer): MacAlgorithm {
  return faultAs('badAlg', () => {
    const fields = readDer(algorithmDer, TAG.SEQUENCE, 'MAC algorithm');
    const id = oidValue(fields.expect(TAG.OID).content, 'MAC algorithm');
    if (id !== OID.passwordBasedMac && id !== OID.pbmac1) throw badDer('MAC algorithm', 'is neither PBM nor PBMAC1');
    const parameters = fields.enter(TAG.SEQUENCE, 'MAC parameters');
    fields.end();
    return id === OID.pbmac1 ? readPbmac1(algorithmDer, parameters) : readPbm(algorithmDer, parameters);
  });
}

function readPbm(der: Buffer, fields: DerReader): MacAlgorithm {
  const salt = saltOf(fields);
  const owf = listed(DIGESTS, algorithmOid(fields, 'owf'), 'owf');
  const rounds = roundsOf(fields);
  const hmac = listed(PBM_HMACS, algorithmOid(fields, 'mac'), 'mac');
  fields.end();
  return { kind: 'pbm', der, salt, owf, rounds, hmac };
}

function readPbmac1(der: Buffer, fields: DerReader): MacAlgorithm {
  const derivation = fields.enter(TAG.SEQUENCE, 'keyDerivationFunc');
  if (oidValue(derivation.expect(TAG.OID).content, 'keyDerivationFunc') !== OID.pbkdf2) {
    throw badDer('keyDerivationFunc', 'is not PBKDF2');
  }
  const parameters = derivation.enter(TAG.SEQUENCE, 'PBKDF2 parameters');
  derivation.end();
  const salt = saltOf(parameters);
  const rounds = roundsOf(parameters);
  const keyLength = parameters.optional(TAG.INTEGER);
  // Absent means HMAC-SHA-1 (RFC 8018 appendix A.2), which is not in the list of prf.
  const prf = listed(HMACS, parameters.atEnd ? OID.hmacWithSha1 : algorithmOid(parameters, 'prf'), 'prf');
  parameters.end();
  const hmac = listed(HMACS, algorithmOid(fields, 'messageAuthScheme'), 'messageAuthScheme');
  fields.end();
  const keyOctets = keyLength === undefined ? OCTETS[hmac] : smallIntegerValue(keyLength.content, 'keyLength');
  within(keyOctets, KEY_OCTETS, 'keyLength');
  return { kind: 'pbmac1', der, salt, rounds, prf, keyOctets, hmac };
}

function saltOf(fields: DerReader): Buffer {
  const salt = fields.expect(TAG.OCTET_STRING, 'salt').content;
  within(salt.length, SALT_OCTETS, 'salt');
  return salt;
}

function roundsOf(fields: DerReader): number {
  const rounds = smallIntegerValue(fields.expect(TAG.INTEGER, 'iterationCount').content, 'iterationCount');
  within(rounds, ROUNDS, 'iterationCount');
  return rounds;
}

function within(value: number, { min, max }: { min: number; max: number }, what: string): void {
  if (value < min || value > max) throw badDer(what, `is not between ${min} and ${max}`);
}

/** OID of an AlgorithmIdentifier whose parameters are absent or NULL: both are in use for hashes and HMACs. */
function algorithmOid(fields: DerReader, what: string): string {
  const algorithm = fields.enter(TAG.SEQUENCE, what);
  const id = oidValue(algorithm.expect(TAG.OID).content, what);
  algorithm.optional(TAG.NULL);
  algorithm.end();
  return id;
}

function listed(table: Readonly<Record<string, MacHash>>, oid: string, what: string): MacHash {
  const found = table[oid];
  if (found === undefined) throw badDer(what, `is ${oid}, which we refuse`);
  return found;
}

/**
 * The key of the MAC. Costs `rounds` hashes, off the event loop or in small pieces: ask first whether the reference is known,
 * and how many are at it.
 *
 * @param turn  resolves when others had their turn; awaited between two pieces
 */
export async function deriveMacKey(
  algorithm: MacAlgorithm,
  secret: Buffer,
  turn: () => Promise<unknown>,
): Promise<Buffer> {
  const { salt, rounds } = algorithm;
  if (algorithm.kind === 'pbmac1') return derivePbkdf2(secret, salt, rounds, algorithm.keyOctets, algorithm.prf);
  let key: Buffer = Buffer.concat([secret, salt]);
  for (let round = 1; round <= rounds; round += 1) {
    key = hash(algorithm.owf, key, 'buffer');
    if (round % ROUNDS_A_TURN === 0) await turn();
  }
  return key;
}

const derivePbkdf2 = promisify(pbkdf2);
/** Under a millisecond. */
const ROUNDS_A_TURN = 500;

/** The MAC over `protectedDer`. @param key  of {@link deriveMacKey} */
export function computeMac(algorithm: MacAlgorithm, key: Buffer, protectedDer: Buffer): Buffer {
  return createHmac(algorithm.hmac, key).update(protectedDer).digest();
}

/** Constant time in the MAC; false for a value of another length. */
export function verifyMac(algorithm: MacAlgorithm, key: Buffer, protectedDer: Buffer, mac: Buffer): boolean {
  const expected = computeMac(algorithm, key, protectedDer);
  return mac.length === expected.length && timingSafeEqual(mac, expected);
}
