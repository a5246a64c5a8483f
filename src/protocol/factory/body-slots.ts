import { FemtoError } from '../../platform/errors.js';

/** Manifests held in memory at once, each up to 32 MiB and some seconds of one core; calls of many enrolments. */
const SLOTS = { proved: 3, anonymous: 1, bulk: 4 } as const;

/**
 * Places for large bodies. Anybody may send a manifest, because its signature is the proof; so callers without a proved
 * certificate share one place, and can neither fill the memory nor keep a station from its own.
 */
export class BodySlots {
  private readonly used = { proved: 0, anonymous: 0, bulk: 0 };

  /** @throws FemtoError RETRY_LATER when all places of the kind are taken */
  async hold<T>(kind: keyof typeof SLOTS, work: () => Promise<T>): Promise<T> {
    if (this.used[kind] >= SLOTS[kind]) {
      throw new FemtoError('RETRY_LATER', 'Other large requests are being read; send it again shortly.', {
        retryAfterSeconds: 5,
      });
    }
    this.used[kind] += 1;
    try {
      return await work();
    } finally {
      this.used[kind] -= 1;
    }
  }
}
