/** The reviewed file that is a key ceremony's only input. What it does not say, the ceremony does not do. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { FemtoError } from '../../platform/errors.js';

export const label = z.string().regex(/^[a-z0-9][a-z0-9-]{0,40}$/, 'lower-case letters, digits and hyphens');
export const tokenLabel = z.string().min(1).max(32);
export const text = z.string().min(1).max(48);

export const people = z
  .array(
    z.strictObject({
      name: text,
      role: z.enum(['lead', 'witness']),
      present: z.boolean(),
      /** Production: file (0600) of this person alone; line 1 = share of the user PIN, line 2 = share of the SO PIN. */
      pinShareFile: z.string().optional(),
    }),
  )
  .min(2);

const ceremonySchema = z
  .strictObject({
    /** Named in the transcript, e.g. "first ceremony". */
    ceremony: text,
    /** demo: one person may run it, and the transcript says so. production: two people and their PIN shares. */
    mode: z.enum(['demo', 'production']),
    /** Organization in every certificate. */
    operator: text,
    /** Domain of the units' names: the Device CAs are constrained to it. */
    realm: z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'a domain name'),
    people,
    onlineToken: tokenLabel,
    roots: z
      .array(
        z.strictObject({
          label,
          kind: z.enum(['root-access', 'root-bootstrap', 'root-services']),
          commonName: text,
          /** A token of its own: no two roots share one. */
          token: tokenLabel,
        }),
      )
      .length(3),
    cas: z
      .array(
        z.strictObject({
          label,
          kind: z.enum(['device-ca', 'bootstrap-ca', 'services-ca']),
          commonName: text,
          root: label,
          /** spare: signed now, used after every gateway has acknowledged it. */
          state: z.enum(['active', 'spare']),
          /** PKCS#11 label of its OCSP key. */
          ocspKey: label,
        }),
      )
      .min(3),
    audit: z.strictObject({ label, issuer: label }),
    rootYears: z.int().min(1).max(20),
    caYears: z.int().min(1).max(5),
    ocspSignerDays: z.int().min(1).max(14),
    auditDays: z.int().min(1).max(366),
    rootCrlDays: z.int().min(31).max(100),
  })
  .superRefine((file, context) => {
    for (const fault of relationFaults(file)) context.addIssue({ code: 'custom', message: fault });
  });

export type CeremonyFile = z.infer<typeof ceremonySchema>;

/** Which root signs which CA: the three never mix (rules 1.1). */
const ROOT_OF_CA = {
  'device-ca': 'root-access',
  'bootstrap-ca': 'root-bootstrap',
  'services-ca': 'root-services',
} as const;

/**
 * @returns the file and the SHA-256 of its bytes, which the transcript names
 * @throws FemtoError BAD_REQUEST with every fault at once
 */
export function readCeremonyFile(path: string): { file: CeremonyFile; sha256Hex: string } {
  return readReviewedFile(path, ceremonySchema, 'hsm-config/ceremony/demo.yaml');
}

/** @param example  what to start from where there is no file */
export function readReviewedFile<File>(
  path: string,
  schema: z.ZodType<File>,
  example: string,
): { file: File; sha256Hex: string } {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', `The ceremony file ${path} cannot be read; start from ${example}.`, { cause });
  }
  const parsed = schema.safeParse(parse(bytes.toString('utf8')));
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new FemtoError('BAD_REQUEST', `The ceremony file ${path} is refused: ${faults.join('; ')}`);
  }
  return { file: parsed.data, sha256Hex: createHash('sha256').update(bytes).digest('hex') };
}

function relationFaults(file: z.infer<typeof ceremonySchema>): string[] {
  const faults: string[] = [];
  const labels = [...file.roots, ...file.cas, file.audit]
    .map((one) => one.label)
    .concat(file.cas.map((ca) => ca.ocspKey));
  if (new Set(labels).size !== labels.length) faults.push('every label must be used once');
  const tokens = [...file.roots.map((root) => root.token), file.onlineToken];
  if (new Set(tokens).size !== tokens.length)
    faults.push('each root needs a token of its own, apart from the online one');
  if (new Set(file.roots.map((root) => root.kind)).size !== 3) faults.push('there must be one root of each kind');
  for (const ca of file.cas) {
    const root = file.roots.find((candidate) => candidate.label === ca.root);
    if (root?.kind !== ROOT_OF_CA[ca.kind]) faults.push(`${ca.label} must be signed by the ${ROOT_OF_CA[ca.kind]}`);
  }
  const active = file.cas.filter((ca) => ca.state === 'active').map((ca) => ca.kind);
  for (const kind of ['device-ca', 'bootstrap-ca', 'services-ca'] as const) {
    if (!active.includes(kind)) faults.push(`there must be an active ${kind}`);
  }
  if (!file.cas.some((ca) => ca.label === file.audit.issuer && ca.kind === 'services-ca' && ca.state === 'active')) {
    faults.push('the audit certificate is issued by the active services-ca');
  }
  return faults;
}

/**
 * Two people, both there: a production root key must never have been in one person's hands.
 * @throws FemtoError APPROVAL_REQUIRED
 */
export function checkPeople(file: Pick<CeremonyFile, 'mode' | 'people'>): void {
  if (file.mode === 'demo') return;
  const present = file.people.filter((person) => person.present);
  if (new Set(present.map((person) => person.name.trim().toLowerCase())).size < 2) {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      'A production ceremony needs two different people present; name both in the ceremony file.',
    );
  }
  if (present.some((person) => person.pinShareFile === undefined)) {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      'In production each person present brings a pinShareFile, so that nobody knows a whole PIN.',
    );
  }
}
