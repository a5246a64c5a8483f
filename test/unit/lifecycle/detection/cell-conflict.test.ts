import { describe, expect, test } from '@jest/globals';
import { type ClaimedCell, judgeCells } from '../../../../src/lifecycle/detection/traffic/cell-conflict.js';

const at = new Date('2026-11-25T12:00:00Z');
const claim = (cell: string, changes: Partial<ClaimedCell> = {}): ClaimedCell => ({
  cell,
  isOwn: false,
  keyProved: true,
  owner: null,
  others: [],
  neighbours: [],
  firstAt: at,
  lastAt: at,
  gateways: ['segw-gangnam-1'],
  raw: [{ id: 1, at: 'then' }],
  ...changes,
});
const own = claim('00101-1', { isOwn: true });
const judge = (...cells: ClaimedCell[]) => judgeCells({ unitId: 7, serialNumber: 'SHB-24-00007', cells });

describe('cell conflicts (DET-3)', () => {
  test('its own cell is no conflict, whoever else names it', () => {
    expect(judge(own)).toBeNull();
    expect(judge(claim('00101-1', { isOwn: true, others: ['SHB-24-00008', 'SHB-24-00009'] }))).toBeNull();
  });

  test.each([
    ['a cell that nobody has', [claim('00101-9')], 'soft'],
    ['its own and one that nobody has', [own, claim('00101-9')], 'strong'],
    ['its own and two more', [own, claim('00101-8'), claim('00101-9')], 'hard'],
    ['another unit’s', [claim('00101-2', { owner: 'SHB-24-00002' })], 'strong'],
    ['one that another claims', [claim('00101-9', { others: ['SHB-24-00002'] })], 'strong'],
    ['another unit’s that a third claims', [claim('00101-2', { owner: 'SHB-24-2', others: ['SHB-24-3'] })], 'hard'],
    ['another unit’s, without proof of the key', [claim('00101-2', { owner: 'SHB-24-2', keyProved: false })], 'soft'],
    [
      'two more than its own, one of them unproved',
      [own, claim('00101-8', { keyProved: false }), claim('c')],
      'strong',
    ],
  ])('%s', (_, cells, grade) => {
    expect(judge(...cells)).toMatchObject({ rule: 'CELL_CONFLICT', subject: 'unit:SHB-24-00007', grade });
  });

  test('the words name who has the cell, and the facts its neighbours', () => {
    const neighbours = [{ cell: '00101-1', unit: 'SHB-24-00001' }];
    expect(judge(claim('00101-2', { owner: 'SHB-24-2', others: ['SHB-24-3'], neighbours }))).toMatchObject({
      words:
        'Registered within 24 hours with a cell, of which not its own: 00101-2 (SHB-24-2 has it; SHB-24-3 claims it, too)',
      facts: {
        cells: ['00101-2'],
        conflicts: [{ cell: '00101-2', owner: 'SHB-24-2', others: ['SHB-24-3'], neighbours }],
      },
    });
  });
});
