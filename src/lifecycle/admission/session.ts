import type { ErrorCode } from '../../platform/errors.js';
import type { AskingGateway } from './decision.js';

export const SESSION_EVENTS_MAX = 1_000;

/** One thing that happened to an IKE_SA, as its gateway saw it. */
export interface SessionEvent {
  /** The gateway's own count within one start of its connector, from 1. */
  readonly seq: number;
  readonly kind: 'up' | 'rekey' | 'down';
  /** Initiator's and responder's SPI, 16 octets. The same SPIs are one session. */
  readonly session: Buffer;
  readonly at: Date;
  /** The unit's FQDN, as authenticated by IKE. */
  readonly identity: string;
  /** Outer address of the unit. */
  readonly address: string;
}

export interface SessionReport {
  /** UUID of this start of the connector. */
  readonly stream: string;
  readonly events: readonly SessionEvent[];
}

export interface SessionReceipt {
  readonly accepted: number;
  /** Said before under the same number; without effect. */
  readonly repeated: number;
  readonly refused: readonly { readonly seq: number; readonly code: ErrorCode; readonly detail: string }[];
  /** Of this stream's newest 5,000 numbers those that never came, from and to, at most 20 ranges. */
  readonly missing: readonly (readonly [number, number])[];
}

/** Is this session of yours alive at this moment? */
export interface ProbeQuestion {
  readonly id: string;
  readonly session: Buffer;
  /** Comes back in the answer. */
  readonly nonce: Buffer;
  readonly askBefore: Date;
}

export interface ProbeAnswer {
  readonly id: string;
  readonly session: Buffer;
  readonly nonce: Buffer;
  /** True where the peer answered an exchange that was begun after the question was read. */
  readonly alive: boolean;
}

export type ProbeState = 'open' | 'both-alive' | 'not-both' | 'unanswered';

export interface SessionDesk {
  /**
   * Takes a gateway's events, in any order, any number of times. A unit with sessions in two places is asked about.
   *
   * @throws FemtoError BAD_REQUEST for more than {@link SESSION_EVENTS_MAX} events
   */
  report(gateway: AskingGateway, report: SessionReport): Promise<SessionReceipt>;
  /** What this gateway is asked now; again at every call until it answers or the question ends. */
  probes(gateway: AskingGateway): Promise<ProbeQuestion[]>;
  /**
   * Two alive at once in two places are two holders of one key: the ledger hears of it (DET-1, rules 5.6).
   *
   * @throws FemtoError NOT_FOUND for a question that this gateway was not asked; NONCE_BAD; STATE_CONFLICT when it has ended
   */
  answerProbe(gateway: AskingGateway, answer: ProbeAnswer): Promise<ProbeState>;
}
