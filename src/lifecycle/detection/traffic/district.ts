import { DAY_MS, type Finding, HOUR_MS } from './finding.js';

export interface DistrictHour {
  readonly hour: Date;
  /** Authentications and registrations with the key proved. */
  readonly attempts: number;
  readonly denied: number;
}

export interface District {
  readonly region: string;
  /** Of fourteen days, in order of time; hours without traffic are left out. The last one is running. */
  readonly hours: readonly DistrictHour[];
  readonly lastAt: Date;
}

/** So many times what the district has at this hour of the day. */
const TIMES_USUAL = 4;
/** A small district makes no noise: up to so many nothing is a burst. */
const BURST_MIN = 20;
/** A week's denials against the week before. */
const DRIP_TIMES = 2;
const DRIP_MIN = 40;
const WEEK_MS = 7 * DAY_MS;

/**
 * DET-4 for a district: more in this hour than it ever had at this hour of the day, give or take one, in the week before
 * (which is also how odd hours show); and denials that rise over a week without any hour that stands out. Always soft: after
 * a power cut every unit of a district comes back at once.
 */
export function judgeDistrict(district: District): Finding[] {
  const [first] = district.hours;
  const now = district.hours.at(-1);
  // Of whom we know less than a day nobody can say what is usual.
  if (first === undefined || now === undefined || now.hour.getTime() - first.hour.getTime() < DAY_MS) return [];
  const burst = ['attempts' as const, 'denied' as const].flatMap((what) => burstOf(district, now, what));
  return burst.length > 0 ? burst.slice(-1) : dripOf(district, now);
}

function burstOf(district: District, now: DistrictHour, what: 'attempts' | 'denied'): Finding[] {
  const usual = Math.max(0, ...sameHourBefore(district.hours, now.hour).map((hour) => hour[what]));
  const threshold = Math.max(BURST_MIN, usual * TIMES_USUAL);
  if (now[what] <= threshold) return [];
  const noun = what === 'denied' ? 'denials' : 'authentications and registrations';
  return [
    {
      ...commonOf(district, now.hour),
      rule: 'DISTRICT_BURST',
      words: `${now[what]} ${noun} in the hour from ${clockOf(now.hour)} UTC; at most ${usual} at this time of the day in the week before, ${threshold} are let pass`,
      facts: { what, count: now[what], usual, threshold },
    },
  ];
}

function dripOf(district: District, now: DistrictHour): Finding[] {
  const end = now.hour.getTime();
  const inWeek = (weeksAgo: number): DistrictHour[] =>
    district.hours.filter(({ hour }) => {
      const ago = end - hour.getTime();
      return ago >= weeksAgo * WEEK_MS && ago < (weeksAgo + 1) * WEEK_MS;
    });
  const [week, before] = [inWeek(0), inWeek(1)];
  const [count, usual] = [deniedIn(week), deniedIn(before)];
  const threshold = Math.max(DRIP_MIN, usual * DRIP_TIMES);
  if (count <= threshold) return [];
  const first = week.find(({ denied }) => denied > 0);
  return [
    {
      ...commonOf(district, first?.hour ?? now.hour),
      rule: 'DISTRICT_DRIP',
      words: `${count} denials within 7 days, ${usual} in the 7 days before; ${threshold} are let pass`,
      facts: { count, usual, threshold },
    },
  ];
}

function commonOf({ region, lastAt }: District, firstAt: Date) {
  return {
    subject: `district:${region}`,
    unitId: null,
    grade: 'soft' as const,
    firstAt,
    lastAt,
    gateways: [],
    raw: [],
  };
}

/** The same hour, give or take one, of the seven days before. */
function sameHourBefore(hours: readonly DistrictHour[], now: Date): DistrictHour[] {
  return hours.filter(({ hour }) => {
    const ago = now.getTime() - hour.getTime();
    const offset = Math.abs(ago - Math.round(ago / DAY_MS) * DAY_MS);
    return ago >= DAY_MS - HOUR_MS && ago <= WEEK_MS + HOUR_MS && offset <= HOUR_MS;
  });
}

function deniedIn(hours: readonly DistrictHour[]): number {
  return hours.reduce((total, { denied }) => total + denied, 0);
}

function clockOf(hour: Date): string {
  return hour.toISOString().slice(11, 16);
}
