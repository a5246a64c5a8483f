import { type ErrorFacts, FemtoError } from '../../platform/errors.js';
import type { FailInfo } from './fail-info.js';
import type { PkiHeader } from './pki-message.js';

/**
 * Something wrong with the message itself: its form, its header, its protection. CMP names such findings more finely than
 * our error codes do, and no other protocol has them, so they stay out of that list; what the product refuses
 * (a weak key, a held unit) is a FemtoError here as everywhere.
 */
export class CmpFault extends Error {
  readonly failInfo: FailInfo;
  /** One short sentence for statusString: says what to mend, nothing about our insides. */
  readonly text: string;
  readonly facts: ErrorFacts;
  /** The header where it could be read although the rest could not: an answer must echo its transaction. */
  readonly header: PkiHeader | undefined;

  constructor(
    failInfo: FailInfo,
    text: string,
    options: { facts?: ErrorFacts; cause?: unknown; header?: PkiHeader | undefined } = {},
  ) {
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CmpFault';
    this.failInfo = failInfo;
    this.text = text;
    this.facts = options.facts ?? {};
    this.header = options.header;
  }
}

/** Runs a reader whose BAD_REQUEST means `failInfo` where it is used; every other refusal passes as it is. */
export function faultAs<T>(failInfo: FailInfo, read: () => T, headerOf?: () => PkiHeader | undefined): T {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof FemtoError) || thrown.code !== 'BAD_REQUEST') throw thrown;
    throw new CmpFault(failInfo, thrown.message, { facts: thrown.facts, cause: thrown, header: headerOf?.() });
  }
}
