/**
 * The status port with a real token behind it: every question carries a nonce, so every answer is signed by the signer, as
 * an installation runs it, journal and fsync included. argv[2]: scratch directory; argv[3]: cores of the signer.
 * Order over IPC: `state`.
 */
import { execFileSync } from 'node:child_process';
import { readSignerConfig } from '../../src/platform/hsm/signer-config.js';
import { ocspIssuerHashes } from '../../src/x509/ocsp.js';
import { readSpki } from '../../src/x509/spki.js';
import { startIssuanceWorld } from '../../test/support/issuance-world.js';
import { openStatusPort } from '../../test/support/status-service.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import { fillCertificates } from './bench-certificates.js';

const CERTIFICATES = 1_000;

export interface OcspLiveReady {
  readonly port: number;
  readonly nameHashHex: string;
  readonly keyHashHex: string;
  readonly hour: number;
  readonly serials: number;
  readonly keyLabel: string;
  readonly token: { path: string; environment: Record<string, string>; tokenLabel: string; pinFile: string };
}

export interface OcspLiveState {
  readonly signerCpuSeconds: number;
  readonly troubles: readonly string[];
}

const [, , dir = '', signerCores = '0'] = process.argv;
const world = await startIssuanceWorld();
const beat = (): Promise<unknown> =>
  world.db.pool.query('INSERT INTO heartbeat VALUES (1, 1, now()) ON CONFLICT (id) DO UPDATE SET at = now()');
await beat();
const beats = setInterval(() => void beat(), 1_000);
const issuer = world.issuer('device-ca-1');
const hour = Math.floor(Date.now() / 3_600_000) - 72;
await fillCertificates(world.db, { issuerId: issuer.id, certificates: CERTIFICATES, hour });
const port = await openStatusPort(
  { ...world, signer: world.token.connect('status'), allCas: await world.issuers.all() },
  { dir, livePerSecond: 1_000_000 },
);
while (port.service.watch.snapshot === undefined) await new Promise((done) => setTimeout(done, 20));
const signerPid = world.token.signerProcess()?.pid ?? 0;
// The signer has a host of its own (rules 2.5); here a core, threads and children included.
for (const pid of treeOf(signerPid)) execFileSync('taskset', ['-acp', signerCores, String(pid)], { stdio: 'ignore' });
const { sha1 } = ocspIssuerHashes(issuer.subjectDer, readSpki(issuer.spkiDer));

process.on('message', () =>
  process.send?.({
    signerCpuSeconds: treeCpuSeconds(signerPid),
    troubles: port.troubles.map(String),
  } satisfies OcspLiveState),
);
const end = async (): Promise<void> => {
  clearInterval(beats);
  await port.close();
  await world.close();
  process.exit(0);
};
process.on('SIGTERM', () => void end());
const { module, tokenLabel, pinFile } = readSignerConfig(world.token.signerConfigPath);
process.send?.({
  port: port.port,
  nameHashHex: sha1.nameHash.toString('hex'),
  keyHashHex: sha1.keyHash.toString('hex'),
  hour,
  serials: CERTIFICATES,
  keyLabel: 'ocsp-device-ca-1',
  token: { ...module, tokenLabel, pinFile },
} satisfies OcspLiveReady);

function treeOf(root: number): number[] {
  const children = execFileSync('sh', ['-c', `pgrep -P ${root} || true`], { encoding: 'utf8' });
  return [
    root,
    ...children
      .split('\n')
      .filter(Boolean)
      .flatMap((pid) => treeOf(Number(pid))),
  ];
}
