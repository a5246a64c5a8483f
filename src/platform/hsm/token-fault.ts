/**
 * What to do about a CK_RV. Kept apart from the module so that the whole table can be tested without a device.
 * Codes: PKCS#11 v2.40 section 3.6 (values in pkcs11t.h).
 */
export type FaultAction =
  /** The session died alone: open another and find the keys again; the request succeeds without a word. */
  | 'reopen'
  /** Logged out elsewhere, handles stale: log in again, find the keys again. */
  | 'log-in'
  /** The device or its connection is gone: C_Finalize, C_Initialize, with back-off. */
  | 'reinitialise'
  /** The PIN was refused. Real HSMs wipe themselves after a few of these: never try again without a person. */
  | 'stop';

const ACTIONS: Readonly<Record<number, FaultAction>> = {
  179: 'reopen', // CKR_SESSION_HANDLE_INVALID
  176: 'reopen', // CKR_SESSION_CLOSED
  144: 'reopen', // CKR_OPERATION_ACTIVE: an earlier sign was cut short
  145: 'reopen', // CKR_OPERATION_NOT_INITIALIZED
  257: 'log-in', // CKR_USER_NOT_LOGGED_IN
  130: 'log-in', // CKR_OBJECT_HANDLE_INVALID: what other sessions see after a C_Logout
  96: 'log-in', // CKR_KEY_HANDLE_INVALID
  160: 'stop', // CKR_PIN_INCORRECT
  161: 'stop', // CKR_PIN_INVALID
  162: 'stop', // CKR_PIN_LEN_RANGE
  163: 'stop', // CKR_PIN_EXPIRED
  164: 'stop', // CKR_PIN_LOCKED
};

/** Anything not listed counts as a broken device: reinitialising is slow but never wrong. */
export function faultAction(rv: number): FaultAction {
  return ACTIONS[rv] ?? 'reinitialise';
}

export const RETRY_FIRST_MS = 1_000;
export const RETRY_LAST_MS = 30_000;

/** Waiting time before try number `attempt` (0 = first retry): 1, 2, 4 … 30 s. */
export function retryDelayMs(attempt: number): number {
  return Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 10));
}
