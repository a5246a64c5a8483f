/**
 * Binds the key ceremony to real tokens. Reachable by: the person at the keyboard, through `femtopki ca init`. Signs
 * with: the roots, once. Writes: ca/, signer/ and secrets/ of the data directory; no database.
 */

import {
  type CeremonyDeps,
  type CeremonyOptions,
  type CeremonyOutcome,
  runCeremony,
} from '../operator/ceremony/run-ceremony.js';
import { openPkcs11Store } from '../platform/hsm/token.pkcs11.js';
import { systemClock, systemRandom } from '../platform/system-clock.js';

/** Blocks while tokens work: a few hundred milliseconds with SoftHSM. */
export function ceremonyWithTokens(options: CeremonyOptions, onStep: CeremonyDeps['onStep']): CeremonyOutcome {
  return runCeremony({ openStore: openPkcs11Store, clock: systemClock, random: systemRandom, onStep }, options);
}
