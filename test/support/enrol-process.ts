/** Starts {@link ./enrol-child.ts} over a world's database and token. */
import { fork } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { certificatePem } from '../../src/x509/certificate.js';
import type { DeviceWorld } from './device-world.js';
import { servicesLeaf } from './services-leaf.js';

export interface EnrolChildSettings {
  readonly databaseUrl: string;
  readonly runDir: string;
  readonly failpoints: string;
  /** PEM: chain and key of the TLS listener. */
  readonly identity: { readonly cert: string; readonly key: string };
  /** PEM: the key that protects CMP answers, its certificate first. */
  readonly ra: { readonly certificates: readonly string[]; readonly key: string };
}

export interface EnrolProcess {
  readonly port: number;
  readonly cmpPort: number;
  /** Resolves with the signal that ended it; null where it ended by itself. */
  readonly ended: Promise<NodeJS.Signals | null>;
  end(): Promise<void>;
}

const CHILD = fileURLToPath(new URL('./enrol-child.ts', import.meta.url));
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;

/** @param failpoints  as armFailpoints reads them */
export async function startEnrolProcess(world: DeviceWorld, failpoints: string): Promise<EnrolProcess> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wish = { profile: 'services-cmp-ra', commonName: 'enrol-server-cmp', publicKey } as const;
  const settings: EnrolChildSettings = {
    databaseUrl: world.db.url,
    runDir: world.token.runDir,
    failpoints,
    identity: world.identity,
    ra: {
      certificates: [
        certificatePem(await servicesLeaf(world.token, wish)),
        ...['services-ca', 'services-root'].map((label) => world.token.entry(label).certificatePem),
      ],
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    },
  };
  const child = fork(CHILD, [JSON.stringify(settings)], {
    execArgv: ['--disable-warning=ExperimentalWarning', '--import', LOADER],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const ended = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_code, signal) => done(signal)));
  const ports = await Promise.race([
    new Promise<{ port: number; cmpPort: number }>((done) => child.once('message', done as (ports: unknown) => void)),
    ended.then(() => {
      throw new Error('the enrol process did not start');
    }),
  ]);
  return {
    ...ports,
    ended,
    end: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
