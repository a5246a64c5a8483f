import type { ProvedCredential, Unit } from '../../lifecycle/model/index.js';
import type { MacAlgorithm } from '../../x509/cmp/index.js';

/** Who protected a message, after its protection held. */
export type Sender = SignedSender | MacSender;

export interface SignedSender {
  readonly kind: 'signature';
  /** `provedAt` is the epoch: a message by itself carries nothing of ours. */
  readonly credential: ProvedCredential;
  readonly unit: Unit;
  readonly protectionKey: Buffer;
  /** What its certificate came with: leads a vendor's to its root. */
  readonly chain: readonly Buffer[];
}

export interface MacSender {
  readonly kind: 'mac';
  readonly reference: string;
  readonly algorithm: MacAlgorithm;
  /** What the secret makes under that algorithm. */
  readonly macKey: Buffer;
  readonly unit: Unit;
  readonly protectionKey: Buffer;
}

/** The same sender, known to have had its key in hand when our nonce was made. */
export function provedSince(sender: Sender, nonceAt: Date): Sender {
  return sender.kind === 'mac' ? sender : { ...sender, credential: { ...sender.credential, provedAt: nonceAt } };
}
