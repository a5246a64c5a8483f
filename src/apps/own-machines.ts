import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { join } from 'node:path';
import type { MachineKind, MachineOffice } from '../lifecycle/registry/index.js';
import type { Config } from '../platform/config/config.js';
import { assembleCsr, certificationRequestInfo } from '../x509/build-csr.js';
import { ensureServerRequested, keyOf } from './server-identity.js';
import { dnsNameOf, processKeyName } from './server-names.js';

/**
 * The machine rows of our own processes, approved ahead: a demo has nobody to wait for. In production the processes ask
 * by themselves and a person approves each once.
 */
export async function approveOwnMachines(
  machines: MachineOffice,
  config: Config,
  options: { tlsDir: string; personId: number },
): Promise<void> {
  const actor = 'system:first-run';
  const servers = [
    ['enrol-server', dnsNameOf(config.publicUrls.enrol)],
    ['gateway-server', dnsNameOf(config.publicUrls.gateway)],
  ] as const;
  for (const [name, dnsName] of servers) {
    await ensureServerRequested({ machines }, { name, dnsName, key: keyOf(join(options.tlsDir, `${name}.key`)) });
    await machines.approve({ name, personId: options.personId, actor });
  }
  for (const kind of ['decision', 'time'] as const) {
    const name = processKeyName(kind);
    await requestWithPassingKey(machines, kind, name, actor);
    await machines.approve({ name, personId: options.personId, actor });
  }
}

/** The row stands for the process; the key in it is replaced by the process's own at its first request. */
async function requestWithPassingKey(
  machines: MachineOffice,
  kind: MachineKind,
  name: string,
  actor: string,
): Promise<void> {
  if ((await machines.byName(name)) !== null) return;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await machines.request({ kind, name, csrDer: csrOf(privateKey, publicKey), actor });
}

function csrOf(privateKey: KeyObject, publicKey: KeyObject): Buffer {
  const info = certificationRequestInfo({
    commonName: null,
    spkiDer: publicKey.export({ type: 'spki', format: 'der' }),
  });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, privateKey));
}
