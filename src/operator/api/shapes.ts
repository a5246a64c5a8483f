import { z } from 'zod';
import { holdsSubscriberNumber } from '../../lifecycle/registry/index.js';

/**
 * The bounded shapes of what people send. A run of 15 digits, also in groups, is refused everywhere in free text: it would be a
 * subscriber or phone identity, which this system never keeps (ADM-3).
 */
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/, 'letters, digits, space, dot, dash, at most 64');
export const machineName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{1,47}$/, 'lower-case letters, digits and dashes, 2 to 48');
export const freeText = z
  .string()
  .min(3, 'say why, in at least 3 characters')
  .max(500)
  .refine(
    (text) => !/\d{15}/.test(text) && !holdsSubscriberNumber(text),
    'must not hold a 15-digit subscriber or phone identity',
  );
export const pem = z.string().max(16_384);
export const serialHex = z.string().regex(/^[0-9a-f]{32}$/, '32 lower-case hex digits');
export const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits');
export const unitSerial = z.string().regex(/^[A-Z0-9-]{4,32}$/, 'A-Z, 0-9 and -, 4 to 32');
export const approvalId = z
  .int()
  .positive()
  .optional()
  .describe('id of an approved request, where two people are needed');
export const limit = z.coerce.number().int().min(1).max(1000).default(100);
export const instant = z.iso.datetime();
export const signature = z.base64().max(200).describe('DER ECDSA signature by the person’s own key');
