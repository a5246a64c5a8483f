import type { EvidenceGrade } from '../model/index.js';
import type { TrafficRuleName } from './traffic/finding.js';

/** A numbered entry of the ledger, as detection reads it. */
export interface Fact {
  readonly epoch: number;
  readonly seq: number;
  readonly kind: string;
  readonly subject: string;
  readonly at: Date;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface GradedFact {
  readonly grade: EvidenceGrade;
  /** Names the kind of evidence; two strong ones count together only when these differ. */
  readonly code: string;
  readonly caseKind: string;
  /**
   * Gateways whose word this is: what they may bring about by themselves is limited (rules 5.6). Without it the proof is in
   * our own record, as of a fork.
   */
  readonly onTheWordOf?: readonly string[];
}

/** What an entry says about its subject; null for everything that is no evidence. Pure. */
export function gradeFact(fact: Fact): GradedFact | null {
  const grade = asGrade(fact.body['grade']);
  switch (fact.kind) {
    case 'lineage.forked':
      return grade && { grade, code: grade === 'hard' ? 'FORK_HARD' : 'FORK_SOFT', caseKind: 'lineage-fork' };
    case 'claim.contested':
      return { grade: grade ?? 'hard', code: 'CLAIM_CONTESTED', caseKind: 'claim-contested' };
    case 'certificate.unrecorded':
      return { grade: 'strong', code: 'NOT_RECORDED', caseKind: 'unrecorded-certificate' };
    case 'traffic.noticed':
      return gradeNotice(fact, grade);
    case 'session.both-alive':
      return { grade: 'hard', code: 'CONCURRENT_USE', caseKind: 'concurrent-use', onTheWordOf: gatewaysOf(fact) };
    case 'request.refused':
      // Named after a unit, it is of one whose key was proved.
      return fact.body['code'] === 'DEVICE_LOST' && fact.subject.startsWith('unit:')
        ? { grade: 'strong', code: 'DEVICE_LOST', caseKind: 'lost-unit-seen' }
        : null;
    case 'admission.denied':
      return gradeDenial(fact);
    default:
      return null;
  }
}

/** Graded where it was seen, by the rules of `traffic/`. */
function gradeNotice(fact: Fact, grade: EvidenceGrade | null): GradedFact | null {
  const rule = fact.body['rule'];
  if (grade === null || typeof rule !== 'string' || !Object.hasOwn(CASE_OF_RULE, rule)) return null;
  const code = rule as keyof typeof CASE_OF_RULE;
  return { grade, code, caseKind: CASE_OF_RULE[code], onTheWordOf: gatewaysOf(fact) };
}

const CASE_OF_RULE = {
  MOBILE_USE: 'mobile-use',
  CELL_CONFLICT: 'cell-conflict',
  REPEATED_DENIALS: 'repeated-denials',
  NEW_GATEWAY: 'new-gateway',
  DISTRICT_BURST: 'district-burst',
  DISTRICT_DRIP: 'district-drip',
} as const satisfies Record<TrafficRuleName, string>;

/** A lost unit that comes back is the thief; only a caller that proved the key is more than noise (rules 5.1). */
function gradeDenial(fact: Fact): GradedFact | null {
  const graded = weighReasons(fact);
  return graded && { ...graded, onTheWordOf: gatewaysOf(fact) };
}

function weighReasons({ body }: Fact): GradedFact | null {
  const reasons = Array.isArray(body['reasons']) ? body['reasons'] : [];
  const weight: EvidenceGrade = body['keyProved'] === true ? 'strong' : 'soft';
  if (reasons.includes('DEVICE_LOST')) return { grade: weight, code: 'DEVICE_LOST', caseKind: 'lost-unit-seen' };
  if (reasons.includes('LINE_MISMATCH')) return { grade: weight, code: 'LINE_MISMATCH', caseKind: 'line-mismatch' };
  // A serial that nobody knew is entered as revoked once, and that entry opens the case. Under a known serial somebody
  // shows other bytes than we recorded, which anybody can who rewrites a signature: then the key counts.
  if (reasons.includes('NOT_RECORDED')) {
    const grade = body['serialKnown'] === true ? weight : 'soft';
    return { grade, code: 'NOT_RECORDED', caseKind: 'unrecorded-certificate' };
  }
  return null;
}

function gatewaysOf({ body: { gateway, gateways } }: Fact): string[] {
  return (Array.isArray(gateways) ? gateways : [gateway]).filter((name) => typeof name === 'string');
}

function asGrade(value: unknown): EvidenceGrade | null {
  return value === 'soft' || value === 'strong' || value === 'hard' ? value : null;
}
