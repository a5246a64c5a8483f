/** The reviewed file of a later ceremony that adds Device CAs, and where it says so a new Access Root above them. */
import { z } from 'zod';
import { FemtoError } from '../../platform/errors.js';
import type { Hierarchy } from '../../platform/hsm/hierarchy.js';
import { checkPeople, label, people, readReviewedFile, text, tokenLabel } from './ceremony-file.js';

const CAS_MAX = 64;

const extensionSchema = z.strictObject({
  /** Named in the record, e.g. "second access root". */
  ceremony: text,
  mode: z.enum(['demo', 'production']),
  people,
  /** Absent: only Device CAs, under roots that there are. */
  root: z
    .strictObject({
      label,
      commonName: text,
      /** A token of its own. */
      token: tokenLabel,
      /** The Access Root that signs it; the newest one. */
      succeeds: label,
    })
    .optional(),
  /** New spares. */
  cas: z
    .array(z.strictObject({ label, commonName: text, root: label, ocspKey: label }))
    .min(1)
    .max(CAS_MAX),
  rootYears: z.int().min(1).max(20),
  caYears: z.int().min(1).max(5),
  ocspSignerDays: z.int().min(1).max(14),
  rootCrlDays: z.int().min(31).max(100),
});

export type ExtensionFile = z.infer<typeof extensionSchema>;

/**
 * @throws FemtoError BAD_REQUEST with every fault at once; STATE_CONFLICT where the hierarchy has a label or a name already;
 *   APPROVAL_REQUIRED when people are missing
 */
export function readExtensionFile(path: string, hierarchy: Hierarchy): { file: ExtensionFile; sha256Hex: string } {
  const read = readReviewedFile(path, extensionSchema, 'hsm-config/ceremony/next-access-root.yaml');
  const faults = relationFaults(read.file, hierarchy);
  if (faults.length > 0) {
    throw new FemtoError('BAD_REQUEST', `The ceremony file ${path} is refused: ${faults.join('; ')}`);
  }
  checkPeople(read.file);
  return read;
}

/** Labels that the ceremony of this file makes. */
export function labelsOf({ root, cas }: ExtensionFile): string[] {
  return [...(root === undefined ? [] : [root.label]), ...cas.flatMap((ca) => [ca.label, ca.ocspKey])];
}

function relationFaults(file: ExtensionFile, hierarchy: Hierarchy): string[] {
  const { entries, links = [] } = hierarchy;
  const faults: string[] = [];
  if (file.mode !== hierarchy.mode)
    faults.push(`it is for ${file.mode}, this hierarchy was made for ${hierarchy.mode}`);
  const made = labelsOf(file);
  if (new Set(made).size !== made.length) faults.push('every label must be used once');
  const roots = entries.filter(({ kind }) => kind === 'root-access').map((root) => root.label);
  if (file.root) {
    const { token, succeeds } = file.root;
    if (!roots.includes(succeeds)) faults.push(`${succeeds} is no Access Root of this hierarchy`);
    if (links.some(({ predecessor, successor }) => predecessor === succeeds && successor !== file.root?.label)) {
      faults.push(`${succeeds} has a successor already; name the newest root`);
    }
    const isTaken = entries.some(({ tokenLabel: used, label: one }) => used === token && one !== file.root?.label);
    if (isTaken) faults.push(`the token ${token} is in use; a root needs a token of its own`);
  }
  for (const ca of file.cas) {
    if (!roots.includes(ca.root) && ca.root !== file.root?.label) faults.push(`${ca.label} names no Access Root`);
  }
  return faults;
}
