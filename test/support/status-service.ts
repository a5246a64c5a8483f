/** The status port over a {@link StatusWorld}, as status-server wires it, in the test's own process. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStatusListener } from '../../src/apps/status-listener.js';
import { openStatusService, type StatusService, type StatusServiceDeps } from '../../src/apps/wire-status.js';
import { makeIssuerDirectory } from '../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../src/lifecycle/registry/issuer-store.pg.js';
import type { Clock } from '../../src/platform/clock.js';
import type { Transactor } from '../../src/platform/db/transaction.js';
import { FemtoError } from '../../src/platform/errors.js';
import type { Signer } from '../../src/platform/signer.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { runClient } from './command.js';

/** What the status port stands on; a {@link StatusWorld} is one. */
export interface PortWorld {
  readonly db: { readonly url: string };
  readonly transactor: Transactor;
  readonly signer: Signer;
  readonly allCas: readonly LabelledCa[];
}

export interface LabelledCa {
  readonly label: string;
  readonly certificateDer: Buffer;
}

export interface StatusPort {
  readonly url: string;
  readonly port: number;
  readonly service: StatusService;
  readonly troubles: unknown[];
  /** Scratch directory, also the CRL directory. */
  readonly dir: string;
  close(): Promise<void>;
}

export async function openStatusPort(
  world: PortWorld,
  options: Partial<
    Pick<
      StatusServiceDeps,
      | 'transactor'
      | 'primary'
      | 'databaseUrl'
      | 'clock'
      | 'livePerSecond'
      | 'signer'
      | 'time'
      | 'ceremonyCertificates'
      | 'onEvent'
    >
  > & { dir?: string; port?: number } = {},
): Promise<StatusPort> {
  const clock: Clock = options.clock ?? systemClock;
  const transactor = options.transactor ?? world.transactor;
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'fp-status-'));
  const troubles: unknown[] = [];
  const service = await openStatusService({
    transactor,
    ...(options.primary !== undefined && { primary: options.primary }),
    databaseUrl: options.databaseUrl ?? world.db.url,
    issuers: makeIssuerDirectory({ transactor, issuers: issuerStore, clock }),
    signer: options.signer ?? world.signer,
    clock,
    crlDirectories: [dir],
    ceremonyCertificates: options.ceremonyCertificates ?? (() => []),
    goodSeconds: 3_600,
    ...(options.livePerSecond !== undefined && { livePerSecond: options.livePerSecond }),
    time: options.time ?? { clock, sign: () => refuse() },
    onTrouble: (error) => troubles.push(error),
    onEvent: options.onEvent ?? (() => undefined),
  });
  const server = createStatusListener((request, response) => service.handle(request, response));
  await new Promise<void>((done) => server.listen(options.port ?? 0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  for (const ca of world.allCas) {
    writeFileSync(join(dir, `${ca.label}.pem`), certificatePem(ca.certificateDer));
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    service,
    troubles,
    dir,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
      await service.close();
      if (options.dir === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}

function refuse(): never {
  throw new FemtoError('RETRY_LATER', 'The time key is not certified yet.', { retryAfterSeconds: 1 });
}

/** What `openssl ocsp` says about a serial: its whole text, verdict lines included. Its exit code says nothing. */
export async function opensslOcsp(
  port: StatusPort,
  question: {
    ca: LabelledCa;
    root: LabelledCa;
    serial: Buffer;
    nonce?: boolean;
    sha256?: boolean;
    args?: readonly string[];
  },
): Promise<string> {
  const { ca, root, serial, nonce = true, sha256 = false, args = [] } = question;
  const { text } = await runClient('openssl', [
    'ocsp',
    '-issuer',
    join(port.dir, `${ca.label}.pem`),
    ...(sha256 ? ['-sha256'] : []),
    '-serial',
    `0x${serial.toString('hex')}`,
    ...(nonce ? [] : ['-no_nonce']),
    '-url',
    `${port.url}/ocsp`,
    '-CAfile',
    join(port.dir, `${root.label}.pem`),
    '-timeout',
    '10',
    ...args,
  ]);
  return text;
}
