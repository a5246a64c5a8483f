/** A world's signer behind the real one's judgement of CRLs: what that refuses is refused, what it remembers is remembered. */
import type { NewestCrl } from '../../src/platform/hsm/crl-memory.js';
import type { SignedPart } from '../../src/platform/hsm/crl-parts.js';
import type { KeyFacts } from '../../src/platform/hsm/issuer-facts.js';
import { judgeCrl } from '../../src/platform/hsm/judge-crl.js';
import { Refusal } from '../../src/platform/hsm/refusal.js';
import type { Signer, SignRequest, SignResult } from '../../src/platform/signer.js';
import { implicitTag, sequence } from '../../src/x509/der.js';
import { algorithmIdentifier } from '../../src/x509/signature-algorithm.js';
import type { StatusWorld, WorldCa } from './status-world.js';

export interface JudgingSigner extends Signer {
  /** What it refused, oldest first. */
  readonly refusals: string[];
  /** The next answers are lost after they were signed. */
  loseAnswers(lost: boolean): void;
}

export function judgingSigner(world: StatusWorld, nowMs: () => number = Date.now): JudgingSigner {
  const newest = new Map<string, NewestCrl>();
  const parts = new Map<string, SignedPart>();
  const refusals: string[] = [];
  let isLosing = false;
  const judged = async (request: SignRequest): Promise<SignResult> => {
    const { keyLabel } = request;
    const ca = world.allCas.find((each) => each.keyLabel === keyLabel);
    if (!ca) throw new Error(`no CA ${keyLabel}`);
    try {
      const consequence = judgeCrl(request, {
        issuer: factsOf(ca),
        lifeSecondsMax: 86_400,
        skewMs: 10_000,
        nowMs: nowMs(),
        newest: newest.get(keyLabel),
        signed: () => newest.get(keyLabel),
        lastPart: (part) => parts.get(`${keyLabel} ${part}`),
      });
      const [result] = await world.signer.sign([request]);
      if (!result?.ok) return result ?? { ok: false, code: 'HSM_UNAVAILABLE', message: 'no answer' };
      if (consequence.kind === 'complete') newest.set(keyLabel, consequence.crl);
      else parts.set(`${keyLabel} ${consequence.part}`, consequence.signed);
      return isLosing ? { ok: false, code: 'HSM_UNAVAILABLE', message: 'The answer was lost.' } : result;
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      refusals.push(thrown.message);
      return { ok: false, code: thrown.code, message: thrown.message };
    }
  };
  return {
    refusals,
    loseAnswers: (lost) => {
      isLosing = lost;
    },
    sign: async (requests) => {
      const results: SignResult[] = [];
      for (const request of requests) results.push(await judged(request));
      return results;
    },
    close: async () => undefined,
  };
}

function factsOf({ label, kind, key, subjectDer, keyIdentifier, notAfter }: WorldCa): KeyFacts {
  return {
    label,
    kind: kind as KeyFacts['kind'],
    spki: key.spki,
    subjectDer,
    keyIdentifier,
    authorityKeyDer: sequence(implicitTag(0, keyIdentifier)),
    notAfterMs: notAfter.getTime(),
    algorithmDer: algorithmIdentifier('ecdsa-with-SHA256'),
    hash: 'sha256',
  };
}
