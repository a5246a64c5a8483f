import type { KeyAttributes, TokenKey } from './token.js';
import { KeyRefusal } from './token.js';

/** What every signing key must be, and the danger when it is not (HSM-1). */
const REQUIRED: readonly (readonly [keyof KeyAttributes, boolean, string])[] = [
  ['sensitive', true, 'its value can be read in the clear (CKA_SENSITIVE is false)'],
  ['alwaysSensitive', true, 'it was once not sensitive (CKA_ALWAYS_SENSITIVE is false)'],
  ['extractable', false, 'it can be wrapped out of the token (CKA_EXTRACTABLE is true)'],
  ['neverExtractable', true, 'it was once extractable (CKA_NEVER_EXTRACTABLE is false)'],
  ['local', true, 'it was imported, not generated in the token (CKA_LOCAL is false)'],
  ['token', true, 'it is a session object (CKA_TOKEN is false)'],
  ['private', true, 'it can be used without a login (CKA_PRIVATE is false)'],
  ['sign', true, 'it cannot sign (CKA_SIGN is false)'],
  ['signRecover', false, 'it can do more than sign (CKA_SIGN_RECOVER is true)'],
  ['decrypt', false, 'it can do more than sign (CKA_DECRYPT is true)'],
  ['unwrap', false, 'it can do more than sign (CKA_UNWRAP is true)'],
  ['derive', false, 'it can do more than sign (CKA_DERIVE is true)'],
];

/** @throws KeyRefusal naming every attribute that is wrong, so that one start shows the whole list. */
export function checkKeyAttributes(key: TokenKey): void {
  const reasons = REQUIRED.filter(([name, wanted]) => key.attributes[name] !== wanted).map(([, , reason]) => reason);
  if (reasons.length > 0) {
    throw new KeyRefusal(
      key.label,
      `${reasons.join('; ')}. Generate it in the token at a ceremony (femtopki ca init).`,
    );
  }
}

/** One line for the start log: the attributes as the token reported them. */
export function describeAttributes(attributes: KeyAttributes): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}
