/**
 * Keeps one login at the token, and the token threads under it, alive through everything the table in token-fault.ts
 * names, and never spends a second PIN try. No software fallback: without the token there is no signature.
 */
import { checkKeyAttributes } from './check-key-attributes.js';
import type { PinMarker } from './pin-marker.js';
import { KeyRefusal, TokenFault, type TokenKey } from './token.js';
import { faultAction, retryDelayMs } from './token-fault.js';
import type { Signed, TokenThreads } from './token-threads.js';

export interface KeeperDeps {
  /** Log in with exactly one C_Login, and sign under it. */
  readonly threads: Pick<TokenThreads, 'count' | 'open' | 'sign' | 'close' | 'silentMs'>;
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
/** A call that has been out for so long makes new rows say so at once; the parent ends the process soon after. */
const SILENT_MS_MAX = 2_000;
/** How often the marker's removal is noticed. */
const MARKER_POLL_MS = 1_000;

export class TokenKeeper {
  /** Logged in, keys verified. */
  private isOpen = false;
  private attempts = 0;
  private lastTryMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private opening: Promise<void> | undefined;
  /** Counts the openings given up: one fault that every thread reports is healed once. */
  private drops = 0;
  private healing: Promise<void> | undefined;
  private current: KeeperState = 'opening';

  constructor(private readonly deps: KeeperDeps) {}

  get state(): KeeperState {
    return this.current;
  }

  /** Resolves after the first try, whatever its outcome. */
  start(): Promise<void> {
    return this.open();
  }

  get threadCount(): number {
    return this.deps.threads.count;
  }

  /** How long a call into the token has not come back, in ms; 0 where none is on its way. */
  silentMs(): number {
    return this.deps.threads.silentMs();
  }

  /** A call has been out for too long to let more rows wait behind it. */
  get isSilent(): boolean {
    return this.current === 'ready' && this.silentMs() > SILENT_MS_MAX;
  }

  /**
   * Signs digests with one key in one thread; several calls go on at once. A fault of the session alone is healed on the
   * way and the caller never hears of it. Never rejects for a token's fault: that stands in its row.
   */
  async sign(label: string, digests: readonly Buffer[]): Promise<Signed[]> {
    await this.healing;
    const drops = this.drops;
    const signed = await this.tryAll(label, digests);
    const fault = signed.find((one) => one instanceof TokenFault);
    if (!fault) return signed;
    if (drops === this.drops && !this.isOpen) {
      this.tryOnDemand();
      return signed;
    }
    await this.healOnce(fault, drops);
    return this.tryAgain(label, digests, signed);
  }

  async close(): Promise<void> {
    clearTimeout(this.timer);
    this.become('closed', 'closing');
    await this.drop();
  }

  /** A caller wants a signature now: do not sit out a long back-off after the token has come back. */
  tryOnDemand(): void {
    if (this.current !== 'waiting' || this.deps.nowMs() - this.lastTryMs < TRY_ON_DEMAND_MS) return;
    clearTimeout(this.timer);
    void this.open();
  }

  private async tryAll(label: string, digests: readonly Buffer[]): Promise<Signed[]> {
    if (this.isOpen) return this.deps.threads.sign(label, digests);
    const away = new TokenFault('C_Sign', 0, `the token is ${this.current}`);
    return digests.map(() => away);
  }

  /** Rows without a signature once more. A session that fails again at once is no session fault: wait, do not loop. */
  private async tryAgain(label: string, digests: readonly Buffer[], first: readonly Signed[]): Promise<Signed[]> {
    const drops = this.drops;
    const left = digests.filter((_digest, index) => first[index] instanceof TokenFault);
    const second = await this.tryAll(label, left);
    const fault = second.find((one) => one instanceof TokenFault);
    if (fault && this.isOpen && drops === this.drops) {
      this.healing = this.giveUp(async () => this.retryLater(fault.message));
      await this.healing;
    }
    const again = second.values();
    return first.map((one) => (one instanceof TokenFault ? (again.next().value ?? one) : one));
  }

  private healOnce(fault: TokenFault, drops: number): Promise<void> | undefined {
    if (drops === this.drops) {
      const action = faultAction(fault.rv);
      this.healing = this.giveUp(async () => {
        if (action === 'stop') this.pinRefused(fault);
        else if (action === 'reinitialise') this.retryLater(fault.message);
        else await this.open();
      });
    }
    return this.healing;
  }

  private async giveUp(then: () => Promise<void>): Promise<void> {
    await this.drop();
    await then();
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
      await this.openAndVerify();
      this.isOpen = true;
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

  private async openAndVerify(): Promise<void> {
    try {
      const keys = await this.deps.threads.open(this.deps.labels);
      for (const key of keys) checkKeyAttributes(key);
      this.deps.onOpen(new Map(keys.map((key) => [key.label, key])));
    } catch (thrown) {
      await this.deps.threads.close();
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

  private async drop(): Promise<void> {
    const wasOpen = this.isOpen;
    this.isOpen = false;
    this.drops += 1;
    if (wasOpen) await this.deps.threads.close();
  }

  private become(state: KeeperState, reason: string): void {
    if (this.current === 'closed') return;
    const changed = this.current !== state || state === 'waiting';
    this.current = state;
    if (changed) this.deps.onState(state, reason);
  }
}
