import type { EvidenceGrade } from '../../model/index.js';
import { type Finding, namesOf, RAW_EVENTS_MAX, type RawEvent } from './finding.js';

/** One cell identity that a unit registered with within a day. */
export interface ClaimedCell {
  readonly cell: string;
  /** It was the unit's own then. */
  readonly isOwn: boolean;
  /** A gateway verified the certificate's key with the claim. */
  readonly keyProved: boolean;
  /** Serial number of the unit that has it; null where none has, or nobody registered it. */
  readonly owner: string | null;
  /** Other units that claimed it with their keys proved, but for its owner. */
  readonly others: readonly string[];
  /** Registered cells next to it in the order of their names, each with its unit. */
  readonly neighbours: readonly { readonly cell: string; readonly unit: string | null }[];
  readonly firstAt: Date;
  readonly lastAt: Date;
  readonly gateways: readonly string[];
  readonly raw: readonly RawEvent[];
}

export interface ClaimingUnit {
  readonly unitId: number;
  readonly serialNumber: string;
  /** In order of time. */
  readonly cells: readonly ClaimedCell[];
}

/**
 * DET-3: one unit on two cells, one cell on two units, a cell that nobody has. Evidence is about whoever claims what is not
 * its own; the owner of a cell is never blamed for those who name it.
 */
export function judgeCells({ unitId, serialNumber, cells }: ClaimingUnit): Finding | null {
  const foreign = cells.filter(({ isOwn }) => !isOwn);
  const [first] = foreign;
  if (first === undefined) return null;
  const proved = cells.filter(({ keyProved }) => keyProved);
  const crowd = crowdOf(proved);
  const grade: EvidenceGrade = crowd >= CROWD_HARD ? 'hard' : crowd >= CROWD_STRONG ? 'strong' : 'soft';
  return {
    rule: 'CELL_CONFLICT',
    subject: `unit:${serialNumber}`,
    unitId,
    grade,
    firstAt: first.firstAt,
    lastAt: new Date(Math.max(...foreign.map(({ lastAt }) => lastAt.getTime()))),
    words: `Registered within 24 hours with ${cells.length === 1 ? 'a cell' : `${cells.length} cells`}, of which not its own: ${foreign.map(describe).join(', ')}`,
    facts: {
      cells: cells.map(({ cell }) => cell),
      conflicts: foreign.map(({ cell, owner, others, neighbours, keyProved }) => ({
        ...{ cell, owner, others, neighbours, keyProved },
      })),
    },
    gateways: namesOf(foreign.flatMap(({ gateways }) => gateways)),
    raw: cells.flatMap(({ raw }) => raw).slice(0, RAW_EVENTS_MAX),
  };
}

const CROWD_STRONG = 2;
const CROWD_HARD = 3;

/** The most cells on this unit, or units on one cell that is not its own. */
function crowdOf(proved: readonly ClaimedCell[]): number {
  const onOneCell = proved
    .filter(({ isOwn }) => !isOwn)
    .map(({ owner, others }) => 1 + others.length + (owner === null ? 0 : 1));
  return onOneCell.length === 0 ? 0 : Math.max(proved.length, ...onOneCell);
}

function describe({ cell, owner, others }: ClaimedCell): string {
  const units = [...(owner === null ? [] : [`${owner} has it`]), ...others.map((unit) => `${unit} claims it, too`)];
  return `${cell} (${units.length === 0 ? 'nobody has it' : units.join('; ')})`;
}
