/**
 * The ceremony's list of what it made: `ca/hierarchy.json` of the data directory. Certificates are public; nothing in
 * this file is secret, and nothing in it is believed without the token: the signer compares each public key.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { FemtoError } from '../errors.js';

export const HIERARCHY_KINDS = [
  'root-access',
  'root-bootstrap',
  'root-services',
  'device-ca',
  'bootstrap-ca',
  'services-ca',
  'ocsp-signer',
  'audit',
] as const;
export type HierarchyKind = (typeof HIERARCHY_KINDS)[number];

const entrySchema = z.strictObject({
  /** e.g. `device-ca-1`; unique; the name in URLs and in SignRequest.keyLabel. */
  label: z.string(),
  kind: z.enum(HIERARCHY_KINDS),
  /** active: in use; spare: signed and published, not issuing yet; offline: roots. */
  state: z.enum(['active', 'spare', 'offline']),
  keyLabel: z.string(),
  tokenLabel: z.string(),
  /** Label of the CA that signed it; its own label for a root. */
  issuerLabel: z.string(),
  /** For an OCSP signer: the CA it answers for. */
  answersFor: z.string().optional(),
  /** OCSP signer certificates last 14 days: this is the ceremony's first one, renewed in the database afterwards. */
  certificatePem: z.string(),
  certificateSha256: z.string(),
  serialHex: z.string(),
  subjectDerHex: z.string(),
  /** subjectKeyIdentifier, hex. */
  keyIdentifierHex: z.string(),
  /** DER SubjectPublicKeyInfo, hex. */
  spkiHex: z.string(),
  notBefore: z.string(),
  notAfter: z.string(),
  /** For CAs and roots: what goes into the certificates they issue. */
  crlUrl: z.string().optional(),
  caUrl: z.string().optional(),
  ocspUrl: z.string().optional(),
});

/** A root delivered signed by the one before it (RFC 4210 section 4.4). */
const linkSchema = z.strictObject({
  /** Label of the old root. */
  predecessor: z.string(),
  /** Label of the new root. */
  successor: z.string(),
  /** The new root's key and name, signed by the old root. */
  newWithOldPem: z.string(),
  /** The old root's key and name, signed by the new root. */
  oldWithNewPem: z.string(),
});

const hierarchySchema = z.strictObject({
  version: z.literal(1),
  installation: z.string(),
  operator: z.string(),
  /** Domain under which units have their names. */
  realm: z.string(),
  mode: z.enum(['demo', 'production']),
  entries: z.array(entrySchema),
  /** Roots that follow one another; absent while the first ones stand. */
  links: z.array(linkSchema).optional(),
});

export type HierarchyEntry = z.infer<typeof entrySchema>;
export type RootLink = z.infer<typeof linkSchema>;
export type Hierarchy = z.infer<typeof hierarchySchema>;

/** @throws FemtoError INTERNAL when there is no hierarchy yet, or the file is not one */
export function readHierarchy(path: string): Hierarchy {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new FemtoError('INTERNAL', `There is no CA hierarchy at ${path}; run femtopki ca init first.`, { cause });
  }
  const parsed = hierarchySchema.safeParse(document);
  if (parsed.success) return parsed.data;
  const fault = parsed.error.issues[0];
  throw new FemtoError(
    'INTERNAL',
    `The CA hierarchy ${path} is damaged at ${fault?.path.join('.')}: ${fault?.message}`,
  );
}

export function hierarchyPath(dataDir: string): string {
  return resolve(dataDir, 'ca', 'hierarchy.json');
}
