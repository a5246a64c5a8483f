/**
 * Every setting of an installation: its meaning, default and example. The field comments are the manual; unknown names are
 * refused, so that a misspelt limit is not silently the default.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { parseDatabaseUrl } from '../db/database-url.js';
import { redisNodes } from '../queue/redis-url.js';

const DAY_SECONDS = 86_400;
const HOUR_SECONDS = 3_600;

const port = (example: number) => z.int().min(0).max(65_535).default(example).meta({ example });
const host = z
  .string()
  .refine((text) => isIP(text) !== 0, 'must be an IP address')
  .default('127.0.0.1')
  .meta({ example: '127.0.0.1' });
const seconds = (fallback: number, max: number) =>
  z.int().min(1).max(max).default(fallback).meta({ example: fallback });
const baseUrl = (example: string) =>
  z
    .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
    .refine((text) => !text.endsWith('/'), 'must not end with a slash')
    .optional()
    .meta({ example });
/** A text that its own reader accepts; the reader's sentence is the fault. */
const readBy = (read: (text: string) => unknown) =>
  z
    .string()
    .max(2_000)
    .superRefine((text, context) => {
      try {
        read(text);
      } catch (thrown) {
        context.addIssue({ code: 'custom', message: thrown instanceof Error ? thrown.message : String(thrown) });
      }
    });
const filePath = (example: string) => z.string().min(1).max(4_096).meta({ example });
const section = <Shape extends z.core.$ZodLooseShape>(shape: Shape) => z.strictObject(shape).prefault({} as never);

const listener = (example: number) => section({ host, port: port(example) });

export const configSchema = z.strictObject({
  /** `demo`: one machine, one person at the ceremony, embedded parts. `production`: refuses what only a demo may do. */
  mode: z.enum(['demo', 'production']).default('demo').meta({ example: 'demo' }),
  /** Name of the operator: O= of every certificate's subject. */
  operator: z
    .string()
    .regex(
      /^[\p{L}\p{N}][\p{L}\p{N} .,'&()-]{0,62}[\p{L}\p{N}.)]$/u,
      "must be a name of 2 to 64 letters, digits, spaces and .,'&()-",
    )
    .default('Hanbit Mobile')
    .meta({ example: 'Hanbit Mobile' }),
  /** DNS realm under which every unit is named `<EUI>.<realm>` (TS 23.003); name constraint of the Device CAs. Lower case. */
  realm: z
    .string()
    .max(200)
    .regex(
      /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$/,
      'must be a lower-case DNS name with at least two labels',
    )
    .default('femto.hanbit.example')
    .meta({ example: 'femto.hanbit.example' }),
  /** Where everything of this installation lives. Default `./data`; relative to the working directory. */
  dataDir: filePath('./data').default('./data'),
  /**
   * PostgreSQL to use instead of the embedded one; several servers, of which one is the primary, divided by commas. Also
   * DATABASE_URL, or DATABASE_URL_FILE: a file that holds it.
   */
  databaseUrl: readBy(parseDatabaseUrl).optional().meta({ example: 'postgresql://femtopki@db.internal/femtopki' }),
  /**
   * Redis for the queues, or some nodes of a Redis Cluster, divided by commas; without it they run on PostgreSQL. Also
   * REDIS_URL, or REDIS_URL_FILE.
   */
  redisUrl: readBy(redisNodes).optional().meta({ example: 'redis://cache.internal:6379/0' }),
  pkcs11: section({
    /** The PKCS#11 module's shared library. */
    module: filePath('/usr/lib/softhsm/libsofthsm2.so').default('/usr/lib/softhsm/libsofthsm2.so'),
  }),
  /** Signers on hosts of their own. Without places the signer runs on this host and is reached by its unix sockets. */
  signer: section({
    /** In order of preference, on every host the same; all hold the same keys. `spkiSha256`: what femtopki signer link-key prints there. */
    places: z
      .array(
        z.strictObject({
          host: z.string().min(1).max(253),
          port: z.int().min(1).max(65_535),
          spkiSha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits'),
        }),
      )
      .max(8)
      .default([])
      .meta({ example: [{ host: 'signer1.internal', port: 8470, spkiSha256: 'a'.repeat(64) }] }),
  }),
  listen: section({
    /** TLS: device and factory REST `/v1`, EST and CMP under `/.well-known/`. */
    enrol: listener(8443),
    /** Plain HTTP: CMP only, whose messages protect themselves. Served by enrol-server, as the one above. */
    cmp: listener(8081),
    /** Plain HTTP: OCSP, CRLs, CA certificates, `/time`. */
    status: listener(8080),
    /** mTLS for security gateways. */
    gateway: listener(8444),
    /** Operator API and console. Without TLS files it may listen on loopback only. */
    operator: section({
      host,
      port: port(8090),
      /** PEM chain and key (0600) that put TLS on this listener. */
      certificateFile: filePath('/etc/femtopki/operator.pem').optional(),
      keyFile: filePath('/etc/femtopki/operator.key').optional(),
    }),
  }),
  /** Probes and metrics, one port a process. */
  metrics: section({
    host,
    enrol: port(9464),
    status: port(9465),
    gateway: port(9466),
    operator: port(9467),
    worker: port(9468),
    signer: port(9469),
  }),
  /**
   * How the outside reaches the listeners: written into certificates (CRL, OCSP, CA addresses), links and answers.
   * Default: the listener's own address.
   */
  publicUrls: section({
    enrol: baseUrl('https://enrol.hanbit.example'),
    cmp: baseUrl('http://cmp.hanbit.example'),
    status: baseUrl('http://pki.hanbit.example'),
    gateway: baseUrl('https://gateway-pki.hanbit.example'),
    operator: baseUrl('https://pki-admin.hanbit.example'),
  }),
  /** Lives of certificates in seconds; the signer's own file and the profiles hold the ceilings. */
  lives: section({
    operationalSeconds: seconds(7 * DAY_SECONDS, 31 * DAY_SECONDS),
    /** A unit may lie in a warehouse for years before its first activation. */
    bootstrapSeconds: seconds(730 * DAY_SECONDS, 1_096 * DAY_SECONDS),
    servicesSeconds: seconds(30 * DAY_SECONDS, 30 * DAY_SECONDS),
    ocspSignerSeconds: seconds(14 * DAY_SECONDS, 14 * DAY_SECONDS),
    /** notBefore lies this far back, inside the life, for clocks that lag. */
    backdateSeconds: seconds(HOUR_SECONDS, 2 * HOUR_SECONDS),
  }),
  status: section({
    /** A CRL is published at least this often, and at once on revoke. */
    crlEverySeconds: seconds(HOUR_SECONDS, 24 * HOUR_SECONDS),
    /** nextUpdate − thisUpdate; policy ceiling 24 h. */
    crlSeconds: seconds(6 * HOUR_SECONDS, 24 * HOUR_SECONDS),
    /** Publish a delta beside each complete CRL, at `/crl/<CA>.delta.crl`, and name it in the complete one (FreshestCRL). */
    crlDeltas: z.boolean().default(false).meta({ example: true }),
    /**
     * Publish each Device CA's CRL in so many shards, too: a power of two, 0 for none. Only for relying parties that honour
     * an IssuingDistributionPoint; strongSwan does not (docs/crl-parts.md).
     */
    crlShards: z
      .int()
      .min(0)
      .max(256)
      .refine((count) => (count & (count - 1)) === 0 && count !== 1, 'must be 0 or a power of two from 2 to 256')
      .default(0)
      .meta({ example: 16 }),
    /** Certificates issued from now on name their shard and not the complete CRL. Needs `crlShards`. */
    crlShardPointers: z.boolean().default(false).meta({ example: true }),
    /** An S3-compatible store to which the rotation-worker copies every CRL after the disk has it (docs/crl-store.md). */
    crlStore: section({
      /** Address under which the objects shall lie, the bucket in its host or its path: `<url>/<CA>.crl`. Unset: no store. */
      url: baseUrl('https://s3.eu-central-1.amazonaws.com/hanbit-pki/crl'),
      region: z
        .string()
        .regex(/^[a-z0-9-]{1,64}$/, 'must be a name of small letters, digits and -')
        .default('us-east-1')
        .meta({ example: 'eu-central-1' }),
      /** JSON with accessKeyId and secretAccessKey, mode 0600; read for each request. */
      credentialsFile: filePath('/etc/femtopki/crl-store.json').optional(),
    }),
    /** nextUpdate − thisUpdate of a `good` answer; policy ceiling 4 h. */
    ocspGoodSeconds: seconds(HOUR_SECONDS, 4 * HOUR_SECONDS),
    /**
     * A streaming replica that this host's status-server reads instead of the primary; a role that may only read is enough.
     * Also FEMTOPKI_STATUS_REPLICA_URL_FILE: a file that holds it.
     */
    replicaUrl: z
      .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgresql URL' })
      .optional()
      .meta({ example: 'postgresql://femtopki_status@replica.internal/femtopki' }),
  }),
  renewal: section({
    /** A certificate's window opens after this part of its life, ± the jitter below as a part of that moment. */
    dueAtFraction: z
      .number()
      .gt(0)
      .lt(1)
      .default(2 / 3)
      .meta({ example: 0.667 }),
    /** Drawn for each certificate, so that units made together do not come together. */
    jitterFraction: z.number().min(0).max(0.3).default(0.1).meta({ example: 0.1 }),
    /**
     * Renewals that all enrol-servers together let through in a second. More than come at once wait or are told when to come
     * again, those whose certificates end first before the others. Set it to what signer and database can do.
     */
    perSecond: z.int().min(1).max(1_000_000).default(1_000).meta({ example: 1_000 }),
    /** The same for activations, which have a rate of their own. */
    activationsPerSecond: z.int().min(1).max(1_000_000).default(200).meta({ example: 200 }),
    /** Part of these rates that one outer address, or the network around it, may use while others wait. */
    sourceShare: z.number().min(0.001).max(1).default(0.1).meta({ example: 0.1 }),
  }),
  /** Proxies whose X-Forwarded-For is believed: addresses or CIDRs. */
  trustedProxies: z.array(z.string().min(2).max(64)).max(64).default([]).meta({ example: '10.0.0.0/8' }),
  /** What network policy knows of addresses, from files that the operator brings; nothing is downloaded. */
  network: section({
    /** MaxMind DB file with `autonomous_system_number` (e.g. GeoLite2-ASN). Read again when it is replaced. */
    asnDatabaseFile: filePath('/var/lib/femtopki/asn.mmdb').optional(),
    /** MaxMind DB file with `country.iso_code` (e.g. GeoLite2-Country). */
    countryDatabaseFile: filePath('/var/lib/femtopki/country.mmdb').optional(),
    /** Older ones, by the build time inside, are not believed: NET_UNKNOWN. */
    databaseAgeMaxDays: z.int().min(1).max(366).default(45).meta({ example: 45 }),
  }),
  /** Where a test may break a process: see platform/failpoint.ts. Refused in production. */
  failpoint: z.string().max(500).optional().meta({ example: 'after-sign:kill' }),
  log: section({
    level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info').meta({ example: 'info' }),
    /** A log file is closed and numbered at this size; so many closed ones are kept for each process. */
    rotateBytes: z
      .int()
      .min(65_536)
      .default(16 * 1024 * 1024)
      .meta({ example: 16_777_216 }),
    keepFiles: z.int().min(1).max(100).default(5).meta({ example: 5 }),
  }),
});

/** As written in the file. */
export type ConfigInput = z.input<typeof configSchema>;
/** With defaults filled in. */
export type ConfigFields = z.output<typeof configSchema>;
