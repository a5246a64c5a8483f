import type { DeskCounts } from './signing-desk.js';
import type { LoginOutcome } from './token-keeper.js';

/** What a class process tells its parent. */
export type ChildMessage =
  | { readonly kind: 'may-login' }
  | { readonly kind: 'login-over'; readonly outcome: LoginOutcome }
  | { readonly kind: 'state'; readonly state: string; readonly reason: string }
  | {
      readonly kind: 'pong';
      readonly counts: DeskCounts;
      readonly journalled: number;
      /** How long a call into the token has not come back; 0 where none is on its way. */
      readonly tokenSilentMs: number;
      /** 99th percentile of how late the loop was since the last answer. */
      readonly loopDelayP99Ms: number;
    }
  | { readonly kind: 'key-refused'; readonly message: string };

/** What the parent tells a class process. */
export type ParentMessage = { readonly kind: 'login-granted' } | { readonly kind: 'ping' } | { readonly kind: 'stop' };
