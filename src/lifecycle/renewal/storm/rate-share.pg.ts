import type { RateShare } from './rate-share.js';

/** What is kept of an unused rate: little, so that a storm begins at the rate and not above it. */
const KEPT_SECONDS = 0.25;

/** What there is by now of the row `r`; $2 a second, $3 at most. The statement's own time, and a clock that steps back adds nothing. */
const THERE_IS =
  'least($3, r.tokens + $2 * greatest(0, extract(epoch FROM statement_timestamp() - r.filled_at)::float8))';

/** Whole ones of it, as many as are wanted. */
const TAKEN = `least($4, greatest(0, floor(${THERE_IS})))`;

const TAKE = `
  INSERT INTO storm_rate AS r (lane, tokens, granted, filled_at)
  VALUES ($1, $3 - least($4, floor($3)), least($4, floor($3)), statement_timestamp())
  ON CONFLICT (lane) DO UPDATE SET
    granted = ${TAKEN},
    tokens = ${THERE_IS} - ${TAKEN},
    filled_at = greatest(r.filled_at, statement_timestamp())
  RETURNING granted`;

export const pgRateShare: RateShare = {
  take: async (tx, { lane, count, perSecond }) => {
    const kept = Math.max(1, perSecond * KEPT_SECONDS);
    const { rows } = await tx.query<{ granted: number }>(TAKE, [lane, perSecond, kept, count], {
      preparedAs: 'storm-rate-take',
    });
    return rows[0]?.granted ?? 0;
  },
};
