import type { ErrorCode } from '../../platform/errors.js';

/** Exit codes of the CLI; `--help` prints them. */
export const EXIT = {
  done: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  refused: 4,
  conflict: 5,
  unreachable: 6,
  partlyFailed: 7,
  warnings: 8,
  critical: 9,
} as const;

export const EXIT_HELP = `Exit codes: 0 done · 1 unexpected · 2 usage · 3 not found · 4 refused · 5 conflict · 6 unreachable · 7 partly failed · 8 warnings · 9 critical`;

const NOT_REFUSALS: Partial<Record<ErrorCode, number>> = {
  NOT_FOUND: EXIT.notFound,
  BAD_REQUEST: EXIT.usage,
  STATE_CONFLICT: EXIT.conflict,
  IDEMPOTENCY_CONFLICT: EXIT.conflict,
  INTERNAL: EXIT.unexpected,
  HSM_UNAVAILABLE: EXIT.unreachable,
  RETRY_LATER: EXIT.unreachable,
};

/** Every code that is not listed is a refusal. */
export function exitCodeOf(code: ErrorCode): number {
  return NOT_REFUSALS[code] ?? EXIT.refused;
}
