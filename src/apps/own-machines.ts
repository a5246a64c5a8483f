import { generateKeyPairSync } from 'node:crypto';
import type { MachineKind, MachineOffice } from '../lifecycle/registry/index.js';
import type { Config } from '../platform/config/config.js';
import { type MachineIdentityName, requestIdentity } from './machine-identity.js';
import { requestOf } from './machine-request.js';
import { RA_NAME } from './ra-identity.js';
import { dnsNameOf, processKeyName } from './server-names.js';

/**
 * The machine rows of our own processes, approved ahead: a demo has nobody to wait for. In production the processes ask
 * by themselves and a person approves each once.
 */
export async function approveOwnMachines(
  machines: MachineOffice,
  config: Config,
  { tlsDir, personId }: { tlsDir: string; personId: number },
): Promise<void> {
  const actor = 'system:first-run';
  const identities: MachineIdentityName[] = [
    { kind: 'server', name: 'enrol-server', dnsName: dnsNameOf(config.publicUrls.enrol), tlsDir },
    { kind: 'server', name: 'gateway-server', dnsName: dnsNameOf(config.publicUrls.gateway), tlsDir },
    { kind: 'cmp-ra', name: RA_NAME, tlsDir },
  ];
  for (const identity of identities) {
    await requestIdentity(machines, identity);
    await approve(machines, identity.name, personId, actor);
  }
  for (const kind of ['decision', 'time'] as const) {
    const name = processKeyName(kind);
    await requestWithPassingKey(machines, kind, name, actor);
    await approve(machines, name, personId, actor);
  }
}

/** This runs at every start; a machine that somebody disabled since stays disabled, and keeps nothing else from starting. */
async function approve(machines: MachineOffice, name: string, personId: number, actor: string): Promise<void> {
  if ((await machines.byName(name))?.state === 'disabled') return;
  await machines.approve({ name, personId, actor });
}

/** The row stands for the process; the key in it is replaced by the process's own at its first request. */
async function requestWithPassingKey(
  machines: MachineOffice,
  kind: MachineKind,
  name: string,
  actor: string,
): Promise<void> {
  if ((await machines.byName(name)) !== null) return;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await machines.request({ kind, name, csrDer: requestOf(privateKey), actor });
}
