import { z } from 'zod';
import * as shape from '../shapes.js';

/** The units of an act over many, where they are named one by one. */
export function listedUnits(unitsMax: number) {
  return z.array(shape.unitSerial).min(1).max(unitsMax).optional().describe('with by=serial-numbers: the units');
}

/** Members of an act over many units: which list was previewed, and who signed it until when. */
export function signedList(unitsMax: number) {
  return {
    listSha256: shape.sha256Hex.describe('of the preview: what is signed is this list'),
    count: z.int().min(1).max(unitsMax),
    secondPerson: z.boolean().default(false).describe('puts it before a second person'),
    confirm: z.string().max(100).optional().describe('beyond 100 units: the phrase of the preview, typed'),
    nonce: z.string().regex(/^[0-9a-f]{32}$/),
    until: shape.instant,
    signature: shape.signature,
  };
}
