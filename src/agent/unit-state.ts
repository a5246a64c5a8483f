import { FemtoError } from '../platform/errors.js';
import { type DeviceFiles, replaceDurably } from './device-files.js';

/** A certificate with its key, as the unit keeps them. */
export interface Held {
  readonly keyPem: string;
  readonly certificatePem: string;
  /** Issuing CA first; empty for the factory identity. */
  readonly chainPem: string;
}

export interface Operational extends Held {
  readonly generation: number;
  /** The window that the server advised, ISO 8601, and the moment in it that this unit drew. */
  readonly renewFrom: string;
  readonly renewUntil: string;
  readonly renewAt: string;
  /** False until the server has answered our confirmation. */
  readonly isConfirmed: boolean;
}

/** A key that was made, kept, and asked a certificate for: the same key goes with every try. */
export interface Pending {
  readonly keyPem: string;
  readonly idempotencyKey: string;
  readonly over: 'bootstrap' | 'current';
}

/**
 * Everything that must not be torn apart by a power cut is one file: a key without its idempotency key, or a certificate
 * without its key, cannot exist.
 */
export interface UnitState {
  readonly version: 1;
  readonly bootstrap: Held;
  readonly current: Operational | null;
  readonly pending: Pending | null;
  /** Token of the last confirmation, where the profile uses one (pre-issue). */
  readonly lineageToken: string | null;
  /** Latest time that the network proved, ISO 8601: a clock that lost its battery starts from here. */
  readonly timeSeen: string | null;
  /** Access Roots that came signed by the factory's since, PEM; they and the factory's are trusted. */
  readonly accessRoots?: readonly string[];
}

const STATE_FILE = 'unit.json';

export function loadState(files: DeviceFiles): UnitState | null {
  const bytes = files.read(STATE_FILE);
  if (bytes === null) return null;
  const state = JSON.parse(bytes.toString('utf8')) as UnitState;
  if (state.version !== 1) {
    throw new FemtoError('BAD_REQUEST', 'The state file is of another version; update the agent.');
  }
  return state;
}

/** When this returns, the state survives a power cut. */
export function saveState(files: DeviceFiles, state: UnitState): void {
  replaceDurably(files, STATE_FILE, Buffer.from(`${JSON.stringify(state)}\n`, 'utf8'));
}

/** What an IKE daemon reads: rewritten from the state, so it may be torn and is then written again. */
export function exportCredential(files: DeviceFiles, { current, accessRoots = [] }: UnitState): void {
  if (current === null) return;
  if (accessRoots.length > 0) replaceDurably(files, 'access-roots-learnt.pem', Buffer.from(accessRoots.join('')));
  replaceDurably(files, 'operational.key', Buffer.from(current.keyPem));
  replaceDurably(files, 'operational.pem', Buffer.from(current.certificatePem));
  replaceDurably(files, 'chain.pem', Buffer.from(current.chainPem));
}

/** A unit as it leaves the factory line. */
export function factoryState(bootstrap: Omit<Held, 'chainPem'>): UnitState {
  return {
    version: 1,
    bootstrap: { ...bootstrap, chainPem: '' },
    current: null,
    pending: null,
    lineageToken: null,
    timeSeen: null,
  };
}
