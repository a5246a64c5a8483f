/**
 * Binds the key ceremonies to real tokens. Reachable by: the person at the keyboard, through `femtopki ca init`,
 * `femtopki ca extend` and `femtopki ca sign-crls`. Signs with: the roots. Writes: ca/, signer/ and secrets/ of the data directory; no database.
 */
import {
  type ExtensionOptions,
  type ExtensionOutcome,
  extendHierarchy,
} from '../operator/ceremony/extend-hierarchy.js';
import { type RootCrlOptions, type RootCrlOutcome, signRootCrls } from '../operator/ceremony/root-crls.js';
import {
  type CeremonyDeps,
  type CeremonyOptions,
  type CeremonyOutcome,
  runCeremony,
} from '../operator/ceremony/run-ceremony.js';
import { openPkcs11Store } from '../platform/hsm/token.pkcs11.js';
import { systemClock, systemRandom } from '../platform/system-clock.js';

export function extensionWithTokens(options: ExtensionOptions, onStep: CeremonyDeps['onStep']): ExtensionOutcome {
  return extendHierarchy({ ...TOKENS, onStep }, options);
}

/** Blocks while tokens work: a few hundred milliseconds with SoftHSM. */
export function ceremonyWithTokens(options: CeremonyOptions, onStep: CeremonyDeps['onStep']): CeremonyOutcome {
  return runCeremony({ ...TOKENS, onStep }, options);
}

export function rootCrlsWithTokens(options: RootCrlOptions, onStep: CeremonyDeps['onStep']): RootCrlOutcome {
  return signRootCrls({ ...TOKENS, onStep }, options);
}

const TOKENS = { openStore: openPkcs11Store, clock: systemClock, random: systemRandom };
