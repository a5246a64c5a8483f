import { FemtoError } from '../../platform/errors.js';

/** The states of a unit; the only way between them is {@link checkUnitTransition}. */
export const UNIT_STATES = [
  'MANIFESTED', // on an accepted manifest, nothing issued
  'BOOTSTRAPPED', // has its factory identity, worth nothing at a gateway
  'ACTIVE', // activated: the only state a gateway may permit (and DORMANT inside its tier)
  'DORMANT', // silent for a while; a good renewal brings it back
  'SUSPENDED', // by people, by its own rr, or by long silence
  'QUARANTINED', // by evidence; leaves only through a new activation
  'LOST', // reported lost or stolen; leaves only through a new activation
  'RETIRED', // final
] as const;
export type UnitState = (typeof UNIT_STATES)[number];

const LEGAL: Readonly<Record<UnitState, readonly UnitState[]>> = {
  MANIFESTED: ['BOOTSTRAPPED', 'RETIRED', 'LOST'],
  BOOTSTRAPPED: ['ACTIVE', 'SUSPENDED', 'QUARANTINED', 'LOST', 'RETIRED'],
  ACTIVE: ['DORMANT', 'SUSPENDED', 'QUARANTINED', 'LOST', 'RETIRED'],
  DORMANT: ['ACTIVE', 'SUSPENDED', 'QUARANTINED', 'LOST', 'RETIRED'],
  SUSPENDED: ['ACTIVE', 'BOOTSTRAPPED', 'QUARANTINED', 'LOST', 'RETIRED'],
  // Leaving quarantine or loss never revives old certificates: the unit goes back to BOOTSTRAPPED and activates anew.
  QUARANTINED: ['BOOTSTRAPPED', 'LOST', 'RETIRED'],
  LOST: ['BOOTSTRAPPED', 'RETIRED'],
  RETIRED: [],
};

/** @throws STATE_CONFLICT with the current state in `facts`, so that the loser of a race can show it (REG-2). */
export function checkUnitTransition(from: UnitState, to: UnitState): void {
  if (!LEGAL[from].includes(to)) {
    throw new FemtoError('STATE_CONFLICT', `The unit is ${from} and cannot become ${to}; look at its history first.`, {
      facts: { from, to },
    });
  }
}

/** States in which a unit may serve; everything else is denied at a gateway. */
export function mayServe(state: UnitState): boolean {
  return state === 'ACTIVE' || state === 'DORMANT';
}
