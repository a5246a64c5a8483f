/**
 * What leaves the host with each signed head: enough to prove a later rewriting, and enough to re-adopt what a restored
 * database has forgotten. The operator copies or mounts the target away from this host; femtopki only writes.
 */
import { z } from 'zod';

export interface AnchorTarget {
  /** For alarms and reports, e.g. `file-drop /var/lib/femtopki/anchors`. */
  readonly name: string;
  /** Durable when it resolves; the same file twice is one file. Throws while the target is down: the head stays queued. */
  put(fileName: string, content: string): Promise<void>;
}

const deltaEntrySchema = z.strictObject({
  seq: z.int().positive(),
  kind: z.string(),
  subject: z.string(),
  at: z.string(),
  body: z.string(),
});

export const anchorSchema = z.strictObject({
  version: z.literal(1),
  epoch: z.int().positive(),
  size: z.int().min(0),
  headText: z.string(),
  /** Base64 of the DER signature over headText. */
  signature: z.string(),
  /** PEM, the audit certificate first. */
  certificates: z.array(z.string()).min(1),
  /** Issues and revocations with `after` < seq ≤ size; the anchor before this one ends at `after`. */
  delta: z.strictObject({ after: z.int().min(0), entries: z.array(deltaEntrySchema) }),
});

export type Anchor = z.infer<typeof anchorSchema>;
export type AnchorDeltaEntry = z.infer<typeof deltaEntrySchema>;

export function anchorFileName({ epoch, size }: { epoch: number; size: number }): string {
  return `${epoch}-${size}.json`;
}

/** Epoch and size in an anchor's file name; null for any other file. */
export function parseAnchorFileName(name: string): { epoch: number; size: number } | null {
  const match = /^([1-9]\d{0,9})-(0|[1-9]\d{0,15})\.json$/.exec(name);
  return match ? { epoch: Number(match[1]), size: Number(match[2]) } : null;
}
