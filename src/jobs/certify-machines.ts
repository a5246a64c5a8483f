import type { Issuance } from '../lifecycle/issuance/index.js';
import type { Machine, MachineOffice } from '../lifecycle/registry/index.js';
import { readSpki } from '../x509/spki.js';

export interface CertifyMachinesDeps {
  readonly machines: MachineOffice;
  readonly issuance: Issuance;
  /** O= is the operator; lives in seconds, the backdated hour included. */
  readonly servicesLifeSeconds: number;
  readonly onRefused: (machine: Machine, error: Error) => void;
}

/** Keys of our own processes live a day (rules 1.5), and the hour of backdating. */
const PROCESS_KEY_LIFE_SECONDS = 25 * 3_600;
const AT_ONCE = 50;
const LOOPBACK = [Buffer.from([127, 0, 0, 1]), Buffer.from(`${'00'.repeat(15)}01`, 'hex')];

/**
 * Services certificates for rows that a person approved. One refused machine never holds up the others.
 * @returns how many were certified
 */
export async function certifyMachines(deps: CertifyMachinesDeps): Promise<number> {
  const waiting = await deps.machines.awaitingCertificate(AT_ONCE);
  const outcomes = await deps.issuance.issueMany(
    waiting.map((machine) => ({
      purpose: 'services' as const,
      servicesKind: machine.kind,
      unitId: null,
      machineId: machine.id,
      commonName: machine.name,
      sanDns: machine.dnsName,
      // A server on loopback is called by address as often as by name.
      ...(machine.dnsName === 'localhost' && { sanIp: LOOPBACK }),
      spki: readSpki(machine.spkiDer),
      lifeSeconds: isProcessKey(machine) ? PROCESS_KEY_LIFE_SECONDS : deps.servicesLifeSeconds,
      revocationEpoch: 0,
      successor: null,
      actor: 'system:rotation-worker',
      facts: { machine: machine.name, machineKind: machine.kind, approvedBy: machine.approvedBy },
      sameKeyAllowed: true,
      withIssued: (tx, certificate) => deps.machines.recordCertificate(tx, machine.id, certificate),
    })),
  );
  let certified = 0;
  for (const [index, outcome] of outcomes.entries()) {
    const machine = waiting[index];
    if (outcome.ok) certified += 1;
    else if (machine) deps.onRefused(machine, outcome.error);
  }
  return certified;
}

function isProcessKey({ kind }: Machine): boolean {
  return kind === 'decision' || kind === 'time';
}
