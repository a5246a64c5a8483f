/** The factory API of a {@link FactoryWorld} on a TLS port, as enrol-server mounts it. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeFactoryRefusals } from '../../src/lifecycle/factory/index.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { makeRefusalCounter, type RefusalCounter } from '../../src/platform/refusals.js';
import { openRefusalStore } from '../../src/platform/refusals.pg.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { watchHandshakes } from '../../src/protocol/device/tls-peer.js';
import { makeFactoryListener } from '../../src/protocol/factory/factory-router.js';
import { certificatePem } from '../../src/x509/certificate.js';
import type { FactoryWorld } from './factory-world.js';
import type { Key } from './status-world.js';

export interface FactoryServer {
  /** `https://localhost:<port>` */
  readonly origin: string;
  /** Of this server; clients' files go there too. */
  readonly dir: string;
  readonly refusals: RefusalCounter;
  /** Failures of ours; none, in a test that ends well. */
  readonly internal: unknown[];
  /** `<name>.pem` and `<name>.key` in {@link dir}. */
  clientFiles(name: string, client: { key: Key; certificateDer: Buffer }): void;
  close(): Promise<void>;
}

export async function startFactoryServer(world: FactoryWorld): Promise<FactoryServer> {
  const internal: unknown[] = [];
  const dir = mkdtempSync(join(tmpdir(), 'fp-factory-api-'));
  const refusals = makeRefusalCounter(openRefusalStore(world.transactor), (error) => internal.push(error));
  const own = await world.issue({ purpose: 'services', serverName: 'localhost' });
  const identity = { cert: certificatePem(own.der), key: pemKey(own.key) };
  const server = createTlsListener({ identity }, (request, response) => listener(request, response));
  const listener = makeFactoryListener({
    factory: world.factory,
    peerOf: watchHandshakes(server, () => new Date()),
    recordRefusal: makeFactoryRefusals({ transactor: world.transactor, ledger, counter: refusals, clock: systemClock }),
    trustedProxies: [],
    onInternal: (error) => internal.push(error),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    dir,
    refusals,
    internal,
    clientFiles: (name, { key, certificateDer }) => {
      writeFileSync(join(dir, `${name}.pem`), certificatePem(certificateDer));
      writeFileSync(join(dir, `${name}.key`), pemKey(key), { mode: 0o600 });
    },
    close: async () => {
      await refusals.close();
      server.close();
      server.closeAllConnections();
      rmSync(dir, { recursive: true });
    },
  };
}

function pemKey(key: Key): string {
  return key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}
