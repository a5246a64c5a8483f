import { caStore } from '../lifecycle/registry/ca-store.pg.js';
import { critical, fine, warning } from '../operator/cli/finding.js';
import { openPool } from '../platform/db/pool.pg.js';
import { transactorOf } from '../platform/db/transaction.pg.js';

const DAY_MS = 86_400_000;
const END_DAYS_WARN = 180;
const END_DAYS_CRITICAL = 45;

/** Spares left, which CA ends when, roots in overlap, and gateways that have yet to acknowledge what waits for them. */
export async function rolloverState(databaseUrl: string, now = new Date()) {
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
    const text = [
      `${spares.length} spare Device CAs`,
      ...ends.map(({ label, days }) => `${label} ends in ${days} days`),
      ...overlaps.map(({ label, predecessorLabel }) => `${label} overlaps with ${predecessorLabel}`),
      ...waiting,
    ].join('; ');
    const nextStep =
      'See docs/rollover.md: femtopki ca list, ca acknowledge, ca activate; femtopki ca extend makes spares.';
    if (soonest === undefined || soonest.days < END_DAYS_CRITICAL) return critical(text, nextStep);
    return soonest.days < END_DAYS_WARN || spares.length === 0 ? warning(text, nextStep) : fine(text);
  } finally {
    await pool.end();
  }
}
