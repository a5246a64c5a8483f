/**
 * Units that speak CMP through OpenSSL's own client, against what enrol-server serves: the device world, and on each
 * replica the CMP router behind a TLS listener and in the clear.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { wireCmp } from '../../src/apps/wire-cmp.js';
import { type Core, wireCore } from '../../src/apps/wire-core.js';
import { wireFactory } from '../../src/apps/wire-factory.js';
import type { FactoryOffice } from '../../src/lifecycle/factory/index.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import type { RaCredential } from '../../src/protocol/cmp/cmp-deps.js';
import { CMP_PATH, createPlainListener } from '../../src/protocol/cmp/plain-listener.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { answerNotFound, mountPaths } from '../../src/protocol/mount.js';
import { readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { type CommandResult, runClient } from './command.js';
import { type CurlCredential, curlUnit } from './curl-unit.js';
import { type DeviceWorld, type Replica, startDeviceWorld, type WorldUnit } from './device-world.js';
import { RA_SUBJECT } from './ra-subject.js';
import { servicesLeaf } from './services-leaf.js';

export interface CmpReplica {
  /** Plain HTTP on 127.0.0.1. */
  readonly plainPort: number;
  /** TLS on localhost, CMP only. */
  readonly tlsPort: number;
  readonly factory: FactoryOffice;
  readonly device: Replica;
}

export interface OpensslRun extends CommandResult {
  /** Where the certificate that was asked for lies, if it came. */
  readonly certFile: string;
  readonly hasCertificate: boolean;
  /** Messages sent and received, in order, as far as they came. */
  readonly sent: readonly Buffer[];
  readonly received: readonly Buffer[];
}

export interface OpensslCall {
  readonly as?: CurlCredential;
  /** Behind the operation-less path; default none. */
  readonly path?: string;
  readonly replica?: CmpReplica;
  readonly tls?: boolean;
  readonly flags?: readonly string[];
}

export interface CmpWorld {
  readonly world: DeviceWorld;
  readonly first: CmpReplica;
  /** What shared secrets are derived from. */
  readonly macKey: Buffer;
  /** The RA as the routers see it; null makes them answer 503. */
  ra: RaCredential | null;
  addReplica(options?: Parameters<DeviceWorld['addReplica']>[0]): Promise<CmpReplica>;
  /** `openssl cmp -cmd <command>` with trust, recipient and outputs in place. */
  openssl(command: string, call?: OpensslCall): Promise<OpensslRun>;
  /** POSTs bytes as a client of ours would; HTTP status and body. */
  post(
    der: Buffer,
    options?: {
      path?: string;
      /** The whole request target, in place of a path. */
      target?: string;
      replica?: CmpReplica;
      headers?: Record<string, string>;
      method?: string;
    },
  ): Promise<HttpAnswer>;
  /** A fresh P-256 key in a file. */
  newKey(): Promise<string>;
  /** An installer's order: the grant that no code belongs to. */
  order(unit: WorldUnit): Promise<void>;
  /** Bootstrap credential of a unit. */
  bootstrapOf(unit: WorldUnit): CurlCredential;
  /** A unit with its first operational certificate, had by ir with implicit confirm or certConf. */
  activeUnit(): Promise<{ unit: WorldUnit; op: CurlCredential }>;
  setModel(change: { label?: string | null; tolerances?: readonly string[]; macAllowed?: boolean }): Promise<void>;
  file(name: string): string;
  close(): Promise<void>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export async function startCmpWorld(): Promise<CmpWorld> {
  const world = await startDeviceWorld();
  const ra = await raOf(world);
  const macKey = randomBytes(32);
  const servers: Server[] = [];
  const closers: (() => void)[] = [];
  const unit = curlUnit(world.dir, world.port);
  const holder: { ra: RaCredential | null } = { ra };

  const serve = async (core: Core, device: Replica): Promise<CmpReplica> => {
    const { factory, handler, onFault, close } = openCmp(world, { core, device, macKey, ra: () => holder.ra });
    closers.push(close);
    const handle = mountPaths({ [CMP_PATH]: handler }, answerNotFound);
    const tls = createTlsListener({ identity: world.identity }, (request, response) => {
      handle(request, response).catch(onFault);
    });
    const plain = createPlainListener({ onFault }, handler);
    servers.push(tls, plain);
    return { device, factory, tlsPort: await listening(tls), plainPort: await listening(plain) };
  };
  const first = await serve(world.core, world as unknown as Replica);

  const openssl: CmpWorld['openssl'] = async (command, call = {}) => {
    const { as, path = '', replica = first, tls = false, flags = [] } = call;
    const [certFile, sentFile, receivedFile] = [unit.file('cmp.pem'), unit.file('sent'), unit.file('received')];
    const outs = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`${sentFile}.${n}`, `${receivedFile}.${n}`] as const);
    const result = await runClient('openssl', [
      ...['cmp', '-cmd', command, '-config', '', '-total_timeout', '15'],
      ...(tls
        ? ['-server', `localhost:${replica.tlsPort}`, '-tls_used', '-tls_trusted', join(world.dir, 'services-root.pem')]
        : ['-server', `127.0.0.1:${replica.plainPort}`]),
      ...['-path', `${CMP_PATH.slice(1)}${path}`],
      ...['-trusted', join(world.dir, 'services-root.pem'), '-recipient', '/CN=femtopki', '-expect_sender', RA_SUBJECT],
      ...(as === undefined ? [] : ['-cert', as.pemFile, '-key', as.keyFile]),
      ...(command === 'rr' || command === 'genm' ? [] : ['-certout', certFile]),
      ...['-reqout', outs.map(([file]) => file).join(','), '-rspout', outs.map(([, file]) => file).join(',')],
      ...flags,
    ]);
    const read = (files: readonly string[]) =>
      files.filter((name) => existsSync(name)).map((name) => readFileSync(name));
    return {
      ...result,
      certFile,
      hasCertificate: existsSync(certFile),
      sent: read(outs.map(([file]) => file)),
      received: read(outs.map(([, file]) => file)),
    };
  };
  const order: CmpWorld['order'] = async ({ id, lineId }) => {
    await world.rooms.enrolment.createGrant({
      unitId: id,
      kind: 'order',
      lineId,
      createdBy: 'person:kim',
      approvedBy: null,
      lifeSeconds: 86_400,
    });
  };
  const bootstrapOf: CmpWorld['bootstrapOf'] = ({ pemFile, keyFile }) => ({ pemFile, keyFile });

  return {
    world,
    first,
    macKey,
    get ra() {
      return holder.ra;
    },
    set ra(value) {
      holder.ra = value;
    },
    addReplica: async (options) => serve(wireCore(transactorOf(world.db.pool)), await world.addReplica(options)),
    openssl,
    post: (der, options = {}) => post(options.replica ?? first, der, options),
    newKey: unit.newKey,
    order,
    bootstrapOf,
    activeUnit: async () => {
      const fresh = await world.addUnit();
      await order(fresh);
      const keyFile = await unit.newKey();
      const flags = ['-newkey', keyFile, '-subject', `/CN=${fresh.fqdn}`];
      const run = await openssl('ir', { as: bootstrapOf(fresh), flags });
      if (run.code !== 0) throw new Error(`the unit was not activated:\n${run.text}`);
      return { unit: fresh, op: { pemFile: run.certFile, keyFile } };
    },
    setModel: async ({ label = null, tolerances = [], macAllowed = false }) => {
      await world.db.pool.query(
        `INSERT INTO unit_model (maker_id, model, label, tolerances, mac_allowed, changed_by, changed_at)
         VALUES (1, 'FC-1', $1, $2, $3, 'test', now())
         ON CONFLICT (maker_id, model) DO UPDATE SET label = $1, tolerances = $2, mac_allowed = $3`,
        [label, tolerances, macAllowed],
      );
    },
    file: unit.file,
    close: async () => {
      for (const close of closers) close();
      for (const server of servers) {
        (server as { closeAllConnections?: () => void }).closeAllConnections?.();
        await new Promise((done) => server.close(done));
      }
      await world.close();
    },
  };
}

/** CMP over a world's rooms; listeners are the caller's. */
export function openCmp(
  world: DeviceWorld,
  {
    core,
    device,
    macKey,
    ra,
  }: {
    readonly core: Core;
    readonly device: Pick<Replica, 'issuance' | 'rooms'>;
    readonly macKey: Buffer;
    readonly ra: () => RaCredential | null;
  },
) {
  const onInternal = (error: unknown, traceId: string): void =>
    void world.alarms.push({ what: 'internal', facts: { error: String(error), traceId } });
  const { factory } = wireFactory(core, {
    issuance: device.issuance,
    macKey,
    refusals: device.rooms.refusals,
    peerOf: () => null,
    trustedProxies: [],
    onInternal,
  });
  const { handler, close } = wireCmp(core, device.rooms, {
    ra: { current: ra },
    factory,
    rootCrlDir: join(world.token.dataDir, 'ca'),
    trustedProxies: [],
    onInternal,
  });
  return { factory, handler, close, onFault: (error: unknown): void => onInternal(error, 'listener') };
}

/** On a free port of loopback. */
export async function listening(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

/** Whose key protects the answers. */
export async function raOf({ token }: DeviceWorld): Promise<RaCredential> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificateDer = await servicesLeaf(token, {
    profile: 'services-cmp-ra',
    commonName: 'enrol-server-cmp',
    publicKey,
  });
  const { ski, subjectDer } = readCertificate(certificateDer);
  const chain = ['services-ca', 'services-root'].map((label) => {
    const [block] = pemBlocks(token.entry(label).certificatePem);
    if (block === undefined) throw new Error(`there is no certificate ${label}`);
    return block.der;
  });
  return {
    certificateDer,
    chain,
    keyIdentifier: ski ?? Buffer.alloc(0),
    subjectDer,
    sign: (data) => sign('sha256', data, privateKey),
  };
}

function post(
  { plainPort }: CmpReplica,
  der: Buffer,
  options: { path?: string; target?: string; headers?: Record<string, string>; method?: string },
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        host: '127.0.0.1',
        port: plainPort,
        path: options.target ?? `${CMP_PATH}${options.path ?? ''}`,
        method: options.method ?? 'POST',
        agent: false,
        headers: { 'content-type': 'application/pkixcmp', 'content-length': der.length, ...options.headers },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming
          .on('data', (chunk: Buffer) => chunks.push(chunk))
          .on('end', () =>
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) }),
          );
      },
    );
    outgoing.on('error', reject).end(der);
  });
}
