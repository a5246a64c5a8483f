/**
 * An enrol-server in a process of its own, which a failpoint may kill: REST and EST behind TLS, CMP in the clear, wired as
 * enrol-server wires them. Started by {@link ./enrol-process.ts}; tells its ports over IPC.
 */
import { randomBytes, sign } from 'node:crypto';
import type { AddressInfo, Server } from 'node:net';
import { wireCmp } from '../../src/apps/wire-cmp.js';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireEnrol } from '../../src/apps/wire-enrol.js';
import { wireEst } from '../../src/apps/wire-est.js';
import { wireFactory } from '../../src/apps/wire-factory.js';
import { wireIssuance } from '../../src/apps/wire-issuance.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import { connectSigner } from '../../src/platform/hsm/signer-client.js';
import { createPlainListener } from '../../src/protocol/cmp/plain-listener.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { watchHandshakes } from '../../src/protocol/device/tls-peer.js';
import { EST_PATH } from '../../src/protocol/est/est-path.js';
import { mountPaths } from '../../src/protocol/mount.js';
import { readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import type { EnrolChildSettings } from './enrol-process.js';

const settings = JSON.parse(process.argv[2] ?? '{}') as EnrolChildSettings;
const core = wireCore(
  transactorOf(openPool(settings.databaseUrl, { applicationName: 'enrol-child', connectionsMax: 5 })),
);
const alarm = (what: string, facts: Record<string, unknown>): void => console.error(what, facts);
const issuance = wireIssuance(core, {
  signer: connectSigner({ runDir: settings.runDir, role: 'enrol' }),
  operator: 'Hanbit Mobile',
  statusUrl: 'http://127.0.0.1:8080',
  alarm,
  ledgerBacklogSeconds: async () => 0,
});
const rooms = wireEnrol(core, { issuance, nonceKey: randomBytes(32), preissueAllowed: false, alarm });

let handle: ReturnType<typeof mountPaths> | undefined;
const server = createTlsListener(
  { identity: settings.identity },
  (request, response) => void handle?.(request, response),
);
const onInternal = (error: unknown): void => console.error(error);
const rim = { peerOf: watchHandshakes(server, () => core.clock.now()), trustedProxies: [], onInternal };
handle = mountPaths({ [EST_PATH]: wireEst(core, rooms, rim) }, rooms.deviceRouter(rim));
const { factory } = wireFactory(core, { ...rim, issuance, macKey: randomBytes(32), refusals: rooms.refusals });
const [raDer = Buffer.alloc(0), ...chain] = settings.ra.certificates.flatMap((pem) =>
  pemBlocks(pem).map(({ der }) => der),
);
const { ski, subjectDer } = readCertificate(raDer);
const ra = {
  certificateDer: raDer,
  chain,
  keyIdentifier: ski ?? Buffer.alloc(0),
  subjectDer,
  sign: (data: Buffer) => sign('sha256', data, settings.ra.key),
};
const cmp = wireCmp(core, rooms, { ...rim, ra: { current: () => ra }, factory, rootCrlDir: settings.runDir });
const plain = createPlainListener({ onFault: onInternal }, cmp.handler);

armFailpoints(settings.failpoints);
process.on('disconnect', () => process.exit(0));
process.send?.({ port: await listening(server), cmpPort: await listening(plain) });

async function listening(listener: Server): Promise<number> {
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  return (listener.address() as AddressInfo).port;
}
