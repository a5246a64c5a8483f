import { FemtoError } from '../../platform/errors.js';

/**
 * An IMSI or IMEI is 15 digits, alone or in groups; a name of ours never needs that shape, so none may carry one (ADM-3).
 * Digits inside a longer word (hex, base64, a longer number) are something else.
 */
const FIFTEEN_DIGITS = /(?<![0-9A-Za-z])[0-9](?:[ ./_-]?[0-9]){14}(?![0-9A-Za-z])/;

export function holdsSubscriberNumber(text: string): boolean {
  return FIFTEEN_DIGITS.test(text);
}

/** A telephone number as people write it: international, or of a Korean mobile line. */
const PHONE_NUMBER =
  /(?<![0-9A-Za-z-])(?:\+[1-9](?:[ ./_-]?[0-9]){7,14}|01[016789](?:[ ./_-]?[0-9]){7,8})(?![0-9A-Za-z])/;
/** Longer ones are PEM or base64, in which digits are no number. */
const WORDS_CHARACTERS_MAX = 1_000;

/**
 * Whatever people send, member by member: none of it may hold a subscriber's number (ADM-3), whichever schema let it pass.
 *
 * @throws FemtoError BAD_REQUEST, which names the member and never repeats the text
 */
export function refuseSubscriberNumbers(value: unknown, member = 'request'): void {
  if (typeof value === 'string') {
    if (value.length > WORDS_CHARACTERS_MAX || !(holdsSubscriberNumber(value) || PHONE_NUMBER.test(value))) return;
    throw new FemtoError('BAD_REQUEST', `The ${member} looks like a subscriber or telephone number; leave it out.`, {
      facts: { field: member },
    });
  }
  if (value === null || typeof value !== 'object') return;
  for (const [name, inner] of Object.entries(value)) {
    refuseSubscriberNumbers(inner, Array.isArray(value) ? member : name);
  }
}

/**
 * Free text and names that people choose: printable, bounded, no subscriber number, nothing that a spreadsheet runs.
 *
 * @param what  the field, for the message
 * @throws FemtoError BAD_REQUEST
 */
export function checkName(text: string, what: string, pattern: RegExp = NAME): string {
  if (!pattern.test(text)) {
    throw new FemtoError('BAD_REQUEST', `The ${what} has characters or a length that names here do not have.`, {
      facts: { field: what },
    });
  }
  if (holdsSubscriberNumber(text)) {
    throw new FemtoError('BAD_REQUEST', `The ${what} looks like a subscriber number; use another name.`, {
      facts: { field: what },
    });
  }
  return text;
}

const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._/-]{0,63}$/u;
/** Machine names are host labels and common names at once. */
export const HOST_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/;
export const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/;
/** A model as manifests name it. */
export const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/;
