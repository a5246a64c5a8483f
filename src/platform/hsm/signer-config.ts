/**
 * The signer's own file. It, and not the database, says what may be signed: an edited policy row cannot widen it.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { FemtoError } from '../errors.js';
import { LINK_ROLES } from './key-class.js';

const label = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a key label has lower-case letters, digits and hyphens');
const dottedOid = z.string().regex(/^[0-2](\.\d+)+$/, 'an object identifier in dotted form');
const dnsSuffix = z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'a domain name');

/** Limits of one purpose that yields a certificate. */
const leafRule = z.strictObject({
  /** Longest life of a certificate in seconds, notAfter inclusive. */
  lifeSecondsMax: z.int().positive(),
  /** Extended key usages that must all be there and no others; one list of several = any one of the lists. */
  extendedKeyUsages: z.array(z.array(dottedOid)).min(1),
  /** CA keys that may sign it. */
  keys: z.array(label).min(1),
  /** dNSNames must lie under this name; absent: any. */
  dnsUnder: dnsSuffix.optional(),
});

const configSchema = z.strictObject({
  /** Id given to this installation by its ceremony; part of every audit head. */
  installation: z.string().regex(/^[0-9a-f]{8,64}$/),
  module: z.strictObject({
    /** Path of the PKCS#11 shared library. */
    path: z.string().min(1),
    /** Environment the module wants, e.g. SOFTHSM2_CONF. Paths and addresses only. */
    environment: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string()).default({}),
  }),
  tokenLabel: z.string().min(1).max(32),
  /** File with the user PIN, mode 0600, one line. */
  pinFile: z.string().min(1),
  /** The ceremony's list of CA, OCSP and audit certificates. */
  hierarchyFile: z.string().min(1),
  /** Journals, counters, newest CRLs, last head. */
  stateDir: z.string().min(1),
  /** Unix sockets. */
  runDir: z.string().min(1),
  /** The mTLS port for servers on other hosts; absent: none. */
  listen: z
    .strictObject({
      host: z.string().min(1),
      port: z.int().min(1).max(65_535),
      /** This host's link key: femtopki signer link-key signer makes it. */
      keyFile: z.string().min(1),
      /** Who may call. The key gives the role, as the socket does on this host. */
      clients: z
        .array(
          z.strictObject({
            name: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'lower-case letters, digits, dots and hyphens'),
            role: z.enum(LINK_ROLES),
            spkiSha256: z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits, as femtopki signer link-key prints them'),
          }),
        )
        .min(1)
        .max(64),
    })
    .optional(),
  /**
   * Calls into the token at one time, for each key class; default: one a core, 4 at most. A token behind a network wants
   * as many as its rate times its answer time, e.g. 8 for 3,000/s and 1 ms with room to spare.
   */
  tokenThreads: z.int().min(1).max(64).optional(),
  /** Leaves a second over all purposes. */
  leavesPerSecondMax: z.int().positive().default(5_000),
  /** How far a time in a TBS may differ from this host's clock, in seconds. */
  clockSkewSeconds: z.int().min(0).max(600).default(60),
  /** How far notBefore may lie in the past, in seconds. */
  backdateSecondsMax: z.int().min(0).default(7_200),
  purposes: z.strictObject({
    operational: leafRule,
    bootstrap: leafRule,
    services: leafRule,
    preissue: leafRule,
    'ocsp-signer': leafRule,
    crl: z.strictObject({
      /** Longest nextUpdate − thisUpdate in seconds. */
      lifeSecondsMax: z.int().positive(),
      keys: z.array(label).min(1),
    }),
    ocsp: z.strictObject({
      lifeSecondsMax: z.int().positive(),
      /** OCSP key → the CA it answers for. */
      keys: z.record(label, label),
    }),
    'audit-head': z.strictObject({
      keys: z.array(label).min(1),
      /** Newest ledger epoch; raised by hand, by two people, when a restore starts another. */
      epochMax: z.int().positive(),
    }),
  }),
  journal: z
    .strictObject({
      /** A journal file is closed and numbered when it passes this size. */
      rotateBytes: z
        .int()
        .min(4_096)
        .default(64 * 1024 * 1024),
    })
    .default({ rotateBytes: 64 * 1024 * 1024 }),
});

export type SignerConfig = z.infer<typeof configSchema>;
export type LeafRule = z.infer<typeof leafRule>;

/**
 * Reads signer.yaml; relative paths are taken from the file's own folder.
 * @throws FemtoError INTERNAL naming every fault at once, unknown keys included
 */
export function readSignerConfig(path: string): SignerConfig {
  let document: unknown;
  try {
    document = parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new FemtoError('INTERNAL', `The signer's file ${path} cannot be read; run femtopki ca init first.`, {
      cause,
    });
  }
  const parsed = configSchema.safeParse(document);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(file)'}: ${issue.message}`);
    throw new FemtoError('INTERNAL', `The signer's file ${path} is refused: ${faults.join('; ')}`);
  }
  const from = dirname(path);
  const config = parsed.data;
  if (/-----BEGIN|\.(pem|key|p12|pfx)$/i.test(config.module.path)) {
    throw new FemtoError(
      'INTERNAL',
      `${path} names a key file where a PKCS#11 module must be; CA keys live in a token only.`,
    );
  }
  return {
    ...config,
    pinFile: resolve(from, config.pinFile),
    hierarchyFile: resolve(from, config.hierarchyFile),
    stateDir: resolve(from, config.stateDir),
    runDir: resolve(from, config.runDir),
    ...(config.listen && { listen: { ...config.listen, keyFile: resolve(from, config.listen.keyFile) } }),
  };
}

/** The signer's file of a data directory. */
export function signerConfigPath(dataDir: string): string {
  return resolve(dataDir, 'signer', 'signer.yaml');
}
