import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { FemtoError } from '../../src/platform/errors.js';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { certIdOf } from '../../src/x509/cert-id.js';
import { readCsr } from '../../src/x509/csr.js';
import { explicitTag, octetString, oid, sequence } from '../../src/x509/der.js';
import { checkKeyPolicy } from '../../src/x509/key-policy.js';
import { checkWishes, verifyPossession } from '../../src/x509/key-request.js';
import { readOcspRequest } from '../../src/x509/ocsp-request.js';
import { cmpTarget } from './cmp/target.js';
import type { Depth, FuzzTarget } from './fuzz-target.js';
import { passesGate } from './passes-gate.js';

const LIMITS = { bytesMax: 16_384, depthMax: 16, elementsMax: 2_000 };
const FQDN = '00005e005317.femto.hanbit.example';
const keys = Array.from({ length: 8 }, () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: pair.privateKey, spkiDer: pair.publicKey.export({ type: 'spki', format: 'der' }) };
});

const csr: FuzzTarget = {
  seed: (random) => {
    const { key, spkiDer } = keys[random(keys.length)] ?? keys[0] ?? fail();
    const nonce = Array.from({ length: 16 }, () => random(256).toString(16).padStart(2, '0')).join('');
    const info = certificationRequestInfo({ commonName: FQDN, spkiDer, challengePassword: nonce });
    return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
  },
  judge: (input) =>
    depthOf(() => {
      if (!passesGate(input, LIMITS)) return 'DER gate';
      const request = stage('structure', () => readCsr(input));
      return stage('policy', () => {
        checkKeyPolicy(request.spki);
        if (!verifyPossession(request)) throw new FemtoError('POP_FAIL', 'wrong signature');
        checkWishes(request, { fqdn: FQDN });
        return 'accepted';
      });
    }),
  resign: (mutated) => {
    const info = mutated.subarray(infoStart(mutated), infoStart(mutated) + infoLength(mutated));
    const signer = keys.find(({ spkiDer }) => info.includes(spkiDer)) ?? keys[0] ?? fail();
    return assembleCsr(
      info,
      'ecdsa-with-SHA256',
      sign('sha256', info, createPrivateKey(signer.key.export({ type: 'pkcs8', format: 'pem' }))),
    );
  },
};

const ocsp: FuzzTarget = {
  seed: (random) => {
    const hashes = { nameHash: Buffer.alloc(20, random(256)), keyHash: Buffer.alloc(20, random(256)) };
    const serial = Buffer.concat([Buffer.from([1]), Buffer.from(Array.from({ length: 15 }, () => random(256)))]);
    const id = certIdOf('sha1', hashes, serial).certIdDer;
    const nonce = sequence(oid('1.3.6.1.5.5.7.48.1.2'), octetString(octetString(Buffer.alloc(16, random(256)))));
    return sequence(sequence(sequence(sequence(id)), explicitTag(2, sequence(nonce))));
  },
  judge: (input) =>
    depthOf(() => {
      if (!passesGate(input, LIMITS)) return 'DER gate';
      // A request that is read is a question for status: its policy is which issuer and serial it names.
      stage('structure', () => readOcspRequest(input));
      return 'accepted';
    }),
};

/** Made when they are asked for: some take a second to prepare. */
export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = { csr: () => csr, ocsp: () => ocsp, cmp: cmpTarget };

class Stopped extends Error {
  constructor(readonly depth: Depth) {
    super(depth);
  }
}

/** A refusal of ours stops at this stage; anything else is a crash. */
function stage<T>(depth: Depth, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof FemtoError ? new Stopped(depth) : error;
  }
}

function depthOf(work: () => Depth): Depth {
  try {
    return work();
  } catch (error) {
    if (error instanceof Stopped) return error.depth;
    throw error;
  }
}

function infoStart(der: Buffer): number {
  return (der[1] ?? 0) < 0x80 ? 2 : 2 + ((der[1] ?? 0) & 0x7f);
}

function infoLength(der: Buffer): number {
  const at = infoStart(der);
  const short = der[at + 1] ?? 0;
  const octets = short < 0x80 ? 0 : short & 0x7f;
  return 2 + octets + (octets === 0 ? short : der.readUIntBE(at + 2, octets));
}

function fail(): never {
  throw new Error('no key');
}
