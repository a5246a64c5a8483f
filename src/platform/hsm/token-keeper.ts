/**
 * Keeps one logged-in token session alive through everything the table in token-fault.ts names, and never spends a
 * second PIN try. No software fallback: without the token there is no signature.
 */
import { checkKeyAttributes } from './check-key-attributes.js';
import type { PinMarker } from './pin-marker.js';
import { KeyRefusal, TokenFault, type TokenKey, type TokenSession } from './token.js';
import { faultAction, retryDelayMs } from './token-fault.js';

export interface KeeperDeps {
  /** Opens the module, logs in with exactly one C_Login. */
  readonly open: () => TokenSession;
  /** Keys this class needs; every one is found and verified at each opening. */
  readonly labels: readonly string[];
  /** Waits for this class's turn to log in; the returned function ends the turn (rules 2.2: one after another). */
  readonly turn: () => Promise<(outcome: LoginOutcome) => void>;
  readonly marker: PinMarker;
  readonly onPinRefused: (fault: TokenFault) => void;
  /** Called after each opening with the keys found; may throw KeyRefusal to refuse them. */
  readonly onOpen: (keys: ReadonlyMap<string, TokenKey>) => void;
  /** A key that must not be used: the process ends, because a person has to look (HSM-1). */
  readonly onKeyRefused: (refusal: KeyRefusal) => void;
  readonly onState: (state: KeeperState, reason: string) => void;
  readonly nowMs: () => number;
}

export type LoginOutcome = 'logged-in' | 'pin-refused' | 'failed';
export type KeeperState = 'opening' | 'ready' | 'waiting' | 'pin-refused' | 'closed';

/** While callers wait for signatures, a waiting token is tried again this soon whatever the back-off says. */
const TRY_ON_DEMAND_MS = 5_000;
/** How often the marker's removal is noticed. */
const MARKER_POLL_MS = 1_000;

export class TokenKeeper {
  private session: TokenSession | undefined;
  private attempts = 0;
  private lastTryMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private opening: Promise<void> | undefined;
  private current: KeeperState = 'opening';

  constructor(private readonly deps: KeeperDeps) {}

  get state(): KeeperState {
    return this.current;
  }

  /** Resolves after the first try, whatever its outcome. */
  start(): Promise<void> {
    return this.open();
  }

  /**
   * Signs a digest. A fault of the session alone is healed on the way and the caller never hears of it.
   * @throws TokenFault when the token cannot sign now
   */
  async sign(label: string, digest: Buffer): Promise<Buffer> {
    const fault = this.trySign(label, digest);
    if (Buffer.isBuffer(fault)) return fault;
    return this.signAgain(label, digest, fault);
  }

  /** The hot path: no promise. The caller goes on to {@link signAgain} with a fault. */
  trySign(label: string, digest: Buffer): Buffer | TokenFault {
    if (!this.session) return new TokenFault('C_Sign', 0, `the token is ${this.current}`);
    try {
      return this.session.sign(label, digest);
    } catch (thrown) {
      if (thrown instanceof TokenFault) return thrown;
      throw thrown;
    }
  }

  async signAgain(label: string, digest: Buffer, fault: TokenFault): Promise<Buffer> {
    if (!this.session) {
      this.tryOnDemand();
      throw fault;
    }
    const action = faultAction(fault.rv);
    this.drop();
    if (action === 'stop') this.pinRefused(fault);
    else if (action === 'reinitialise') this.retryLater(fault.message);
    else await this.open();
    const second = this.trySign(label, digest);
    if (Buffer.isBuffer(second)) return second;
    // A session that fails again at once is no session fault: wait instead of opening in a loop.
    if (this.session) {
      this.drop();
      this.retryLater(second.message);
    }
    throw second;
  }

  close(): void {
    clearTimeout(this.timer);
    this.drop();
    this.become('closed', 'closing');
  }

  /** A caller wants a signature now: do not sit out a long back-off after the token has come back. */
  tryOnDemand(): void {
    if (this.current !== 'waiting' || this.deps.nowMs() - this.lastTryMs < TRY_ON_DEMAND_MS) return;
    clearTimeout(this.timer);
    void this.open();
  }

  private open(): Promise<void> {
    this.opening ??= this.openOnce().finally(() => {
      this.opening = undefined;
    });
    return this.opening;
  }

  private async openOnce(): Promise<void> {
    if (this.current === 'closed') return;
    if (this.deps.marker.isSet) return this.waitForPerson();
    const endTurn = await this.deps.turn();
    let outcome: LoginOutcome = 'failed';
    try {
      // Another class may have been refused while this one waited for its turn.
      if (this.deps.marker.isSet) return this.waitForPerson();
      this.lastTryMs = this.deps.nowMs();
      this.session = this.openAndVerify();
      outcome = 'logged-in';
      this.attempts = 0;
      this.become('ready', 'logged in, keys verified');
    } catch (thrown) {
      if (thrown instanceof KeyRefusal) this.deps.onKeyRefused(thrown);
      else if (thrown instanceof TokenFault && faultAction(thrown.rv) === 'stop') {
        outcome = 'pin-refused';
        this.pinRefused(thrown);
      } else this.retryLater(thrown instanceof Error ? thrown.message : String(thrown));
    } finally {
      endTurn(outcome);
    }
  }

  private openAndVerify(): TokenSession {
    const session = this.deps.open();
    try {
      const keys = new Map<string, TokenKey>();
      for (const label of this.deps.labels) {
        const key = session.key(label);
        checkKeyAttributes(key);
        keys.set(label, key);
      }
      this.deps.onOpen(keys);
      return session;
    } catch (thrown) {
      session.close();
      throw thrown;
    }
  }

  private pinRefused(fault: TokenFault): void {
    this.deps.onPinRefused(fault);
    this.waitForPerson();
  }

  private waitForPerson(): void {
    this.become('pin-refused', `the PIN was refused once; see ${this.deps.marker.path}`);
    this.timer = setTimeout(() => {
      if (this.deps.marker.isSet) this.waitForPerson();
      else void this.open();
    }, MARKER_POLL_MS);
  }

  private retryLater(reason: string): void {
    const delayMs = retryDelayMs(this.attempts);
    this.attempts += 1;
    this.become('waiting', `${reason}; next try in ${delayMs / 1_000} s`);
    this.timer = setTimeout(() => void this.open(), delayMs);
  }

  private drop(): void {
    this.session?.close();
    this.session = undefined;
  }

  private become(state: KeeperState, reason: string): void {
    if (this.current === 'closed') return;
    const changed = this.current !== state || state === 'waiting';
    this.current = state;
    if (changed) this.deps.onState(state, reason);
  }
}
