import { hash } from 'node:crypto';
import { serialHex } from '../../x509/serial.js';
import type { Draft } from './draft-certificate.js';

/** What an issuance is about, as the ledger names it. */
export function subjectOf(
  { request, issuer }: Pick<Draft, 'request' | 'issuer'>,
  unit: { readonly serialNumber: string } | null,
): string {
  if (unit !== null) return `unit:${unit.serialNumber}`;
  if (request.machineId !== null) return `machine:${request.commonName}`;
  return `issuer:${issuer.label}`;
}

/** The facts that tie intent, signature and certificate together: exactly one of the two hashes. */
export function certificateFacts(
  draft: Draft,
  bytes: { readonly tbs: Buffer } | { readonly der: Buffer },
): Record<string, unknown> {
  const { request } = draft;
  return {
    ...request.facts,
    attemptId: draft.attemptId,
    issuer: draft.issuer.label,
    issuerId: draft.issuer.id,
    serial: serialHex(draft.serial),
    purpose: request.purpose,
    unitId: request.unitId,
    generation: request.successor?.generation ?? null,
    spkiSha256: request.spki.spkiHash.toString('hex'),
    notAfter: draft.notAfter.toISOString(),
    ...('tbs' in bytes ? { tbsSha256: sha256Hex(bytes.tbs) } : { certificateSha256: sha256Hex(bytes.der) }),
    actor: request.actor,
  };
}

function sha256Hex(bytes: Buffer): string {
  return hash('sha256', bytes, 'hex');
}
