/**
 * The worker's publication of CRLs as it runs, over an installation of many Device CAs with so many certificates revoked; its
 * signer is one in memory. Beside it the sequencer. argv[2]: the CRL directory; argv[3]: JSON CrlPublicationOptions.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { wireCore } from '../../src/apps/wire-core.js';
import { CRLS_EVERY_MS, crlPublication } from '../../src/apps/worker-crls.js';
import { startLoop } from '../../src/jobs/loop.js';
import type { Config } from '../../src/platform/config/config.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import type { Logger } from '../../src/platform/log.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { sequencerOf } from '../../test/support/status-sequencer.js';
import { startStatusWorld, type WorldCa } from '../../test/support/status-world.js';
import { fillRevoked } from './crl-rows.js';

export interface CrlPublicationOptions {
  readonly revoked: number;
  readonly issuers: number;
  /** With a certificate each, none of them revoked. */
  readonly units: number;
}

export interface RevocableUnit {
  readonly unitId: number;
  readonly serialHex: string;
  /** Of its CA. */
  readonly label: string;
}

export interface CrlPublicationReady {
  readonly databaseUrl: string;
  readonly units: readonly RevocableUnit[];
  /** From nothing in memory to a CRL of every CA. */
  readonly firstSeconds: number;
}

const dir = process.argv[2] ?? '';
const options = JSON.parse(process.argv[3] ?? '{}') as CrlPublicationOptions;
const world = await startStatusWorld();
const cas: WorldCa[] = [world.deviceCa];
while (cas.length < options.issuers) cas.push(await world.addDeviceCa(`device-ca-${cas.length + 1}`));
await fillRevoked(world.db, { issuerIds: cas.map(({ id }) => id), certificates: options.revoked });
const units: RevocableUnit[] = [];
for (const key = world.newKey(); units.length < options.units; ) {
  const ca = cas[Math.floor(Math.random() * cas.length)] as WorldCa;
  const { id: unitId } = await world.addUnit();
  const { serial } = await world.issue({ unitId, ca, key });
  units.push({ unitId, serialHex: serial.toString('hex'), label: ca.label });
}
await world.beat();
const beats = setInterval(() => void world.beat(), 1_000);
const sequence = await sequencerOf(world);

const onError = (loop: string, error: unknown): void => void process.stderr.write(`${loop}: ${String(error)}\n`);
const startMs = performance.now();
const loops = [
  startLoop({
    name: 'sequencer',
    everyMs: 200,
    onError,
    run: async () => {
      await sequence();
      return undefined;
    },
  }),
  startLoop({
    name: 'crl-publication',
    everyMs: CRLS_EVERY_MS,
    onError,
    run: crlPublication({
      core: wireCore(world.transactor),
      leases: makeLeases(world.transactor),
      signer: world.signer,
      files: makeCrlDirectory(dir),
      holder: 'bench',
      config: {
        status: { crlEverySeconds: 3_600, crlSeconds: 21_600, crlDeltas: false, crlShards: 0 },
        publicUrls: { status: 'http://127.0.0.1:8080' },
      } as Config,
      log: { info: () => undefined } as unknown as Logger,
      alarm: (what, facts) => onError('crl-publication', `${what} ${JSON.stringify(facts)}`),
    }),
  }),
];
for (;;) {
  const { rows } = await world.db.pool.query<{ published: number }>(
    'SELECT count(DISTINCT issuer_id) AS published FROM crl WHERE published_at IS NOT NULL',
  );
  if (Number(rows[0]?.published) >= cas.length) break;
  await sleep(20);
}
const firstSeconds = (performance.now() - startMs) / 1_000;
const forget = setInterval(() => world.signed.splice(0), 1_000);

process.on('SIGTERM', () => {
  clearInterval(beats);
  clearInterval(forget);
  void Promise.all(loops.map((loop) => loop.stop()))
    .then(() => world.close())
    .then(() => process.exit(0));
});
process.send?.({ databaseUrl: world.db.url, units, firstSeconds } satisfies CrlPublicationReady);
