import { describe, expect, test } from '@jest/globals';
import { type StatusWitness, unexplainedAbsences } from '../../../../src/lifecycle/status/index.js';

const at = (day: number): Date => new Date(Date.UTC(2026, 10, day));
const witness = (serialHex: string, kind: string, day: number, notAfter = at(30)): StatusWitness => ({
  serialHex,
  kind: `certificate.${kind}` as StatusWitness['kind'],
  at: at(day),
  notAfter,
});

describe('a CRL is never shorter than the ledger explains (rules 6.5)', () => {
  test('an entry that nobody ever recorded as revoked may not vanish', () => {
    expect(unexplainedAbsences(['aa'], [], at(20))).toEqual(['aa']);
  });

  test('a revoked entry may vanish only one CRL period after its expiry', () => {
    const revoked = [witness('aa', 'revoked', 3, at(10))];
    expect(unexplainedAbsences(['aa'], revoked, at(9))).toEqual(['aa']);
    expect(unexplainedAbsences(['aa'], revoked, at(10))).toEqual([]);
  });

  test('a held entry may vanish when it was released afterwards, in whatever order the ledger tells it', () => {
    const held = witness('aa', 'held', 3);
    const released = witness('aa', 'released', 4);
    expect(unexplainedAbsences(['aa'], [held], at(20))).toEqual(['aa']);
    expect(unexplainedAbsences(['aa'], [released, held], at(20))).toEqual([]);
  });

  test('a hold after the release brings the entry back', () => {
    const history = [witness('aa', 'held', 3), witness('aa', 'released', 4), witness('aa', 'held', 5)];
    expect(unexplainedAbsences(['aa'], history, at(20))).toEqual(['aa']);
  });

  test('revoked is final: a release written after it explains nothing', () => {
    const history = [witness('aa', 'held', 3), witness('aa', 'revoked', 4), witness('aa', 'released', 5)];
    expect(unexplainedAbsences(['aa'], history, at(20))).toEqual(['aa']);
  });

  test('one explained absence does not explain its neighbour', () => {
    expect(unexplainedAbsences(['aa', 'bb'], [witness('aa', 'released', 4)], at(20))).toEqual(['bb']);
  });
});
