import { describe, expect, test } from '@jest/globals';
import { type Fact, gradeFact } from '../../../../src/lifecycle/detection/index.js';

const fact = (kind: string, body: Record<string, unknown>, subject = 'unit:SHB-24-00007'): Fact => ({
  ...{ epoch: 1, seq: 1, kind, subject, at: new Date('2026-11-25T12:00:00Z'), body },
});

describe('what an entry of the ledger says', () => {
  test.each<[string, Fact, string | null]>([
    ['a lost unit at a gateway', fact('admission.denied', { reasons: ['DEVICE_LOST'], keyProved: true }), 'strong'],
    ['its name at a gateway', fact('admission.denied', { reasons: ['DEVICE_LOST'], keyProved: false }), 'soft'],
    ['a lost unit that renews', fact('request.refused', { code: 'DEVICE_LOST' }), 'strong'],
    ['another refusal', fact('request.refused', { code: 'POP_FAIL' }), null],
    ['a refusal of nobody we know', fact('request.refused', { code: 'DEVICE_LOST' }, 'factory:1'), null],
    ['a rule that there is not', fact('traffic.noticed', { rule: 'toString', grade: 'hard' }), null],
    ['a rule without a grade', fact('traffic.noticed', { rule: 'MOBILE_USE' }), null],
    ['a journey', fact('traffic.noticed', { rule: 'MOBILE_USE', grade: 'strong', gateways: ['a', 7] }), 'strong'],
    ['an issue', fact('certificate.issued', {}), null],
  ])('%s', (_, entry, grade) => {
    expect(gradeFact(entry)?.grade ?? null).toBe(grade);
  });

  test('names the gateways whose word it is, so that they can be limited; a fork is nobody’s word', () => {
    const ofGateways = (kind: string, body: object) => gradeFact(fact(kind, { ...body }))?.onTheWordOf;
    expect(ofGateways('admission.denied', { reasons: ['LINE_MISMATCH'], keyProved: true, gateway: 'a' })).toEqual([
      'a',
    ]);
    expect(ofGateways('traffic.noticed', { rule: 'CELL_CONFLICT', grade: 'hard', gateways: ['a', 7] })).toEqual(['a']);
    expect(ofGateways('lineage.forked', { grade: 'hard' })).toBeUndefined();
  });
});
