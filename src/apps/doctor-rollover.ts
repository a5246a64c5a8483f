import { caStore } from '../lifecycle/registry/ca-store.pg.js';
import type { CaRow } from '../lifecycle/registry/index.js';
import { critical, fine, warning } from '../operator/cli/finding.js';
import { openPool } from '../platform/db/pool.pg.js';
import { transactorOf } from '../platform/db/transaction.pg.js';

const DAY_MS = 86_400_000;
const END_DAYS_WARN = 180;
const END_DAYS_CRITICAL = 45;

/**
 * Spares left, which CA ends when, roots in overlap, gateways that have yet to acknowledge what waits for them, and keys that
 * may sign although their CA has stopped.
 *
 * @param barredKeys  labels that this host's signer signs no certificates with; null where the signer runs elsewhere
 */
export async function rolloverState(databaseUrl: string, barredKeys: readonly string[] | null, now = new Date()) {
  const pool = openPool(databaseUrl, { applicationName: 'doctor', connectionsMax: 1, onIdleError: () => undefined });
  try {
    const { read } = transactorOf(pool);
    const all = await caStore.cas(read);
    const devices = all.filter(({ kind }) => kind === 'device-ca');
    const active = devices.filter(({ state }) => state === 'active');
    const spares = devices.filter(({ state }) => state === 'spare');
    const overlaps = all.filter(({ predecessorLabel }) =>
      all.some(({ label, state }) => label === predecessorLabel && state !== 'retired'),
    );
    // Only what somebody is about to take into use: a spare in the drawer waits for nobody.
    const waiting: string[] = [];
    for (const ca of [...overlaps, ...spares]) {
      const gateways = await caStore.gatewaysWithout(read, ca.id);
      if (gateways.length > 0) waiting.push(`${ca.label} is not acknowledged by ${gateways.slice(0, 5).join(', ')}`);
    }
    const ends = active.map(({ label, notAfter }) => ({
      label,
      days: Math.floor((notAfter.getTime() - now.getTime()) / DAY_MS),
    }));
    const soonest = ends.sort((a, b) => a.days - b.days)[0];
    const [barredInUse, stillOpen] = keysAgainst(all, barredKeys);
    const text = [
      `${spares.length} spare Device CAs`,
      ...ends.map(({ label, days }) => `${label} ends in ${days} days`),
      ...overlaps.map(({ label, predecessorLabel }) => `${label} overlaps with ${predecessorLabel}`),
      ...waiting,
      ...stillOpen.map(({ label, state }) => `${label} is ${state}, and the signer may still use its key`),
      ...barredInUse.map(({ label, state }) => `${label} is ${state}, and its key is barred`),
    ].join('; ');
    if (barredInUse.length > 0) {
      return critical(text, 'Nothing is issued under a barred key, for good: activate a spare, then retire this CA.');
    }
    const nextStep =
      'See docs/rollover.md: femtopki ca list, ca acknowledge, ca activate; femtopki ca extend makes spares.';
    if (soonest === undefined || soonest.days < END_DAYS_CRITICAL) return critical(text, nextStep);
    if (stillOpen.length > 0) return warning(text, `On the signer's host: femtopki ca bar ${stillOpen[0]?.label}.`);
    return soonest.days < END_DAYS_WARN || spares.length === 0 ? warning(text, nextStep) : fine(text);
  } finally {
    await pool.end();
  }
}

/** CAs whose key is barred too early, and those whose key is not barred though it should be. */
function keysAgainst(all: readonly CaRow[], barredKeys: readonly string[] | null): [CaRow[], CaRow[]] {
  if (barredKeys === null) return [[], []];
  const cas = all.filter(({ parentLabel }) => parentLabel !== null);
  const hasStopped = ({ state }: CaRow): boolean => state === 'closing' || state === 'retired';
  return [
    cas.filter((ca) => !hasStopped(ca) && barredKeys.includes(ca.label)),
    cas.filter((ca) => hasStopped(ca) && !barredKeys.includes(ca.label)),
  ];
}
