/** What a class process and its token threads say to each other. Plain data: it is copied from thread to thread. */
import type { TokenKey, TokenSettings } from './token.js';

/** Where a logged-in token and its keys are, for sessions under the same login. No secret is in it. */
export interface TokenPlace {
  readonly modulePath: string;
  /** CK_SLOT_ID as the binding writes it. */
  readonly slot: Uint8Array;
  readonly keys: readonly TokenPlaceKey[];
}

export interface TokenPlaceKey {
  readonly label: string;
  /** CK_OBJECT_HANDLE: good in every session of the application. */
  readonly handle: Uint8Array;
  readonly digestBytes: number;
  /** Length of r ‖ s. */
  readonly signatureBytes: number;
}

export type ThreadOrder =
  /** Initialises the module, logs in and finds the keys: one thread of a process. */
  | { readonly kind: 'open'; readonly settings: TokenSettings; readonly labels: readonly string[] }
  /** Opens a session under the login of the thread that opened. */
  | { readonly kind: 'join'; readonly place: TokenPlace }
  /** Digests one after another, all for the key `label`. */
  | { readonly kind: 'sign'; readonly label: string; readonly digests: Uint8Array }
  /** Closes the session; the thread that opened also finalises the module, so it is told last. */
  | { readonly kind: 'close' };

/** One answer an order, in the order of the orders. */
export type ThreadAnswer =
  | { readonly kind: 'opened'; readonly keys: readonly TokenKey[]; readonly place: TokenPlace }
  /** Signatures (r ‖ s) one after another: fewer than digests where a fault ended it. */
  | { readonly kind: 'signed'; readonly signatures: Uint8Array; readonly fault: ThreadFault | undefined }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly fault: ThreadFault }
  | { readonly kind: 'refused'; readonly label: string; readonly reason: string };

/** A TokenFault as data: its class does not survive the copy. */
export interface ThreadFault {
  readonly call: string;
  readonly rv: number;
  readonly detail: string;
}

/** `workerData` of a thread: `progress[index]` counts its finished calls, so that one that never returns can be seen. */
export interface ThreadData {
  readonly progress: Int32Array<SharedArrayBuffer>;
  readonly index: number;
}
