/** From which moment a report's time runs. */
export type DutyStart = 'awareness' | 'fact';

export interface RulePack {
  readonly name: string;
  /** Cases that somebody came to know of from here on; a later pack of the same law ends the earlier one. */
  readonly effectiveFrom: Date;
  readonly effectiveUntil: Date | null;
  readonly duties: readonly { readonly duty: string; readonly starts: DutyStart; readonly hours: number }[];
}

export interface Owed {
  readonly pack: string;
  readonly duty: string;
  readonly beganAt: Date;
  readonly dueAt: Date;
}

/**
 * What the operator owes to whom (INC-1): network law within 24 hours of knowing and again within 24 hours of each new fact,
 * privacy law and the people concerned within 72. Hours are hours: no calendar day, no time zone is in it.
 */
export const RULE_PACKS: readonly RulePack[] = [
  {
    name: 'network-law-2024',
    effectiveFrom: new Date('2024-08-14T00:00:00Z'),
    effectiveUntil: null,
    duties: [
      { duty: 'network-initial', starts: 'awareness', hours: 24 },
      { duty: 'network-supplementary', starts: 'fact', hours: 24 },
    ],
  },
  {
    name: 'privacy-law-2023',
    effectiveFrom: new Date('2023-09-15T00:00:00Z'),
    effectiveUntil: null,
    duties: [
      { duty: 'privacy-authority', starts: 'awareness', hours: 72 },
      { duty: 'user-notice', starts: 'awareness', hours: 72 },
    ],
  },
];

const HOUR_MS = 3_600_000;

/** @param awareAt  decides which packs are in force; @param beganAt  the awareness itself, or the new fact */
export function owedFrom(packs: readonly RulePack[], starts: DutyStart, awareAt: Date, beganAt: Date): Owed[] {
  return packs
    .filter(
      ({ effectiveFrom, effectiveUntil }) => effectiveFrom <= awareAt && !(effectiveUntil && effectiveUntil <= awareAt),
    )
    .flatMap(({ name, duties }) =>
      duties
        .filter((one) => one.starts === starts)
        .map(({ duty, hours }) => ({
          pack: name,
          duty,
          beganAt,
          dueAt: new Date(beganAt.getTime() + hours * HOUR_MS),
        })),
    );
}

/** How late, as h:mm; null while in time. */
export function lateness(dueAt: Date, doneAt: Date | null, now: Date): string | null {
  const minutes = Math.floor(((doneAt ?? now).getTime() - dueAt.getTime()) / 60_000);
  if (minutes <= 0) return null;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`;
}
