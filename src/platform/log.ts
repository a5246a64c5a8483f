/**
 * JSON lines on standard error (standard output belongs to data). Secrets are kept out twice: fields with a secret's name
 * are dropped by name, and what looks like a private key, a password in a URL or a bearer token is blotted out of every
 * finished line, whatever field it came in.
 */
import pino from 'pino';

export type Logger = pino.Logger;

export interface LogOptions {
  /** The process: `enrol-server`, … */
  readonly name: string;
  readonly level?: string;
  /** Where finished lines go; default standard error. */
  readonly destination?: { write(line: string): void };
}

/** `code` is not among them: it is an error's stable code; an activation code is logged as nothing but its hash. */
const SECRET_FIELDS = [
  'password',
  'passphrase',
  'pin',
  'secret',
  'token',
  'grantCode',
  'oneTimeCode',
  'macSecret',
  'authorization',
  'cookie',
  'set-cookie',
  'privateKey',
  'credential',
  'databaseUrl',
  'redisUrl',
];

export function createLogger(options: LogOptions): Logger {
  // At the top, one and two levels down: `*` matches one level.
  const paths = SECRET_FIELDS.flatMap((name) => ['', '*', '*.*'].map((above) => `${above}["${name}"]`));
  return pino(
    {
      name: options.name,
      level: options.level ?? 'info',
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths, censor: '[redacted]' },
      serializers: { err: pino.stdSerializers.errWithCause, error: pino.stdSerializers.errWithCause },
      hooks: { streamWrite: scrub },
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  );
}

/** Blots secrets out of a finished line. */
export function scrub(line: string): string {
  return (
    line
      // A key cut short ends with its JSON string: the line must stay readable.
      .replace(/-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[^"]*?(-----END \1-----|(?=")|$)/g, '[private key redacted]')
      .replace(/(\b[a-z][a-z0-9+]*:\/\/[^\s:@/"]*):[^\s@/"]+@/gi, '$1:[redacted]@')
      .replace(/\b(Bearer|Basic) [A-Za-z0-9._~+/=-]{8,}/g, '$1 [redacted]')
  );
}
