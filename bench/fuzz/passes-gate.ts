import { FemtoError } from '../../src/platform/errors.js';
import { checkDer, type DerLimits } from '../../src/x509/der-gate.js';

export function passesGate(input: Buffer, limits: DerLimits): boolean {
  try {
    checkDer(input, limits);
    return true;
  } catch (error) {
    if (error instanceof FemtoError) return false;
    throw error;
  }
}
