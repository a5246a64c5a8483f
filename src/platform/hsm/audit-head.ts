/**
 * The text of an audit head, signed by the audit key and anchored outside. Lines ended by LF, nothing else:
 *
 *   femtopki-audit-head-v1
 *   <installation id>
 *   <epoch, decimal>
 *   <size: number of entries, decimal>
 *   <Merkle root, 64 hex>
 *   <chain hash, 64 hex>
 *   <time, ISO 8601 UTC with milliseconds>
 */
import { FemtoError } from '../errors.js';

export interface AuditHead {
  readonly installation: string;
  readonly epoch: number;
  readonly size: number;
  readonly rootHex: string;
  readonly chainHex: string;
  readonly at: Date;
}

const VERSION = 'femtopki-audit-head-v1';
const SHAPE =
  /^femtopki-audit-head-v1\n([0-9a-f]{8,64})\n([1-9]\d{0,14})\n(0|[1-9]\d{0,14})\n([0-9a-f]{64})\n([0-9a-f]{64})\n(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\n$/;

export function auditHeadText(head: AuditHead): string {
  const { installation, epoch, size, rootHex, chainHex, at } = head;
  return `${[VERSION, installation, epoch, size, rootHex, chainHex, at.toISOString()].join('\n')}\n`;
}

/** @throws FemtoError BAD_REQUEST for any text that {@link auditHeadText} would not write */
export function parseAuditHead(text: string): AuditHead {
  const match = SHAPE.exec(text);
  const [, installation, epoch, size, rootHex, chainHex, at] = match ?? [];
  if (!installation || !epoch || !size || !rootHex || !chainHex || !at || Number.isNaN(Date.parse(at))) {
    throw new FemtoError('BAD_REQUEST', 'The audit head is not in its canonical text; build it with auditHeadText.');
  }
  return { installation, epoch: Number(epoch), size: Number(size), rootHex, chainHex, at: new Date(at) };
}

/** SignRequest.name of a head. */
export function auditHeadName(head: Pick<AuditHead, 'epoch' | 'size'>): string {
  return `head:${head.epoch}:${head.size}`;
}

/** SignRequest.evidence of a head: the RFC 6962 proof from the last signed head, `oldSize` 0 for the first. */
export function consistencyEvidence(oldSize: number, proof: readonly Buffer[]): Buffer {
  return Buffer.from(JSON.stringify({ oldSize, proof: proof.map((hash) => hash.toString('hex')) }), 'utf8');
}
