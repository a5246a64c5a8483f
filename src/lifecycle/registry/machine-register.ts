import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { readCsr } from '../../x509/csr.js';
import { verifyPossession } from '../../x509/key-request.js';
import type { Actor } from '../model/index.js';
import type { Machine, MachineKind } from './machine.js';
import type { MachineCertificate, MachineStore } from './machine-store.js';
import type { MakerStore } from './maker-store.js';
import { checkName, HOST_LABEL } from './names.js';

export interface MachineDeps {
  readonly transactor: Transactor;
  readonly machines: MachineStore;
  readonly makers: MakerStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

export interface MachineRequest {
  readonly kind: MachineKind;
  /** `[a-z0-9-]`, at most 48: the certificate's common name. */
  readonly name: string;
  /** Stations only: the maker it works for. */
  readonly makerName?: string;
  /** Gateways and servers: the dNSName in the certificate. */
  readonly dnsName?: string;
  /** DER PKCS#10 signed by the machine's own key. Names in it are not read. */
  readonly csrDer: Buffer;
  readonly actor: Actor;
}

/** Machines that hold a Services certificate: asked for by CSR, approved by a person, certified by the rotation worker. */
export interface MachineOffice {
  /** @throws FemtoError BAD_REQUEST, KEY_WEAK, POP_FAIL, NOT_FOUND (maker), STATE_CONFLICT (name), KEY_IN_USE */
  request(request: MachineRequest): Promise<Machine>;
  /** Only a person approves. Approving twice changes nothing. @throws FemtoError NOT_FOUND, STATE_CONFLICT (disabled) */
  approve(approval: { name: string; personId: number; actor: Actor }): Promise<Machine>;
  /** Its role ends at once at every listener. The caller revokes its certificate. */
  disable(request: { name: string; actor: Actor; reason: string }): Promise<Machine>;
  /**
   * Asks for the next certificate. Keys of our own processes may change with it: the row that a person approved
   * stands (rules 1.5). Any other machine keeps its key, or is requested anew.
   *
   * @param request.csrDer  proves the key; may be absent when the key stays
   */
  askRenewal(request: { name: string; csrDer?: Buffer; actor: Actor }): Promise<Machine>;
  list(filter: { kind?: MachineKind; state?: Machine['state']; afterId?: number; limit?: number }): Promise<Machine[]>;
  byName(name: string): Promise<Machine | null>;

  /** For the rotation worker: approved rows that want a certificate now. */
  awaitingCertificate(limit: number): Promise<Machine[]>;
  /** For issuance's `withIssued`: the row names its newest certificate. */
  recordCertificate(tx: Transaction, machineId: number, certificate: MachineCertificate): Promise<void>;
  /** For listeners: the approved machine that holds this key. Null for requested and disabled ones. */
  bySpkiHash(spkiHash: Buffer): Promise<Machine | null>;
}

const LIST_DEFAULT = 100;
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
/** Keys of our own processes: made anew at every start, or from a file that may be lost or must be replaced. */
const KEY_MAY_CHANGE: ReadonlySet<MachineKind> = new Set(['decision', 'time', 'server', 'cmp-ra']);

export function makeMachineOffice(deps: MachineDeps): MachineOffice {
  const { transactor, machines } = deps;
  return {
    request: (request) => requestMachine(deps, request),
    approve: (approval) => approveMachine(deps, approval),
    disable: (request) => disableMachine(deps, request),
    askRenewal: (request) => askRenewal(deps, request),
    list: ({ afterId = 0, limit = LIST_DEFAULT, ...filter }) =>
      machines.list(transactor.read, { ...filter, afterId, limit }),
    byName: (name) => machines.find(transactor.read, { name }),
    awaitingCertificate: (limit) => machines.awaiting(transactor.read, limit),
    recordCertificate: (tx, machineId, certificate) => machines.recordCertificate(tx, machineId, certificate),
    bySpkiHash: async (spkiHash) => {
      const machine = await machines.find(transactor.read, { spkiHash });
      return machine?.state === 'approved' ? machine : null;
    },
  };
}

async function requestMachine(deps: MachineDeps, request: MachineRequest): Promise<Machine> {
  const { kind, dnsName, makerName, actor } = request;
  const name = checkName(request.name, 'machine name', HOST_LABEL);
  if (dnsName !== undefined && !DNS_NAME.test(dnsName)) {
    throw new FemtoError('BAD_REQUEST', 'The DNS name is not a lower-case host name.');
  }
  if ((kind === 'station') !== (makerName !== undefined)) {
    throw new FemtoError('BAD_REQUEST', 'A station names its maker, and no other machine does.');
  }
  const spki = provedKey(request.csrDer);
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const maker = makerName === undefined ? null : await deps.makers.maker(tx, { name: makerName });
    if (makerName !== undefined && maker === null) throw new FemtoError('NOT_FOUND', 'There is no such maker.');
    if ((await deps.machines.find(tx, { spkiHash: spki.spkiHash })) !== null) {
      throw new FemtoError('KEY_IN_USE', 'The key belongs to another machine; generate a fresh one.');
    }
    const machine = await deps.machines.add(tx, {
      kind,
      name,
      makerId: maker?.id ?? null,
      dnsName: dnsName ?? null,
      spkiDer: spki.spkiDer,
      spkiHash: spki.spkiHash,
      requestedBy: actor,
      createdAt: at,
    });
    if (machine === null) throw new FemtoError('STATE_CONFLICT', `There is a machine ${name} already.`);
    await record(deps, tx, 'machine.requested', machine, at, { actor });
    return machine;
  });
}

async function approveMachine(
  deps: MachineDeps,
  { name, personId, actor }: { name: string; personId: number; actor: Actor },
): Promise<Machine> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const machine = await requireMachine(deps, tx, name);
    if (machine.state === 'approved') return machine;
    if (machine.state === 'disabled') {
      throw new FemtoError('STATE_CONFLICT', 'The machine is disabled; request it anew under another name.', {
        facts: { state: machine.state },
      });
    }
    await deps.machines.approve(tx, machine.id, { personId, at });
    await record(deps, tx, 'machine.approved', machine, at, { actor });
    return { ...machine, state: 'approved', approvedBy: personId };
  });
}

async function disableMachine(
  deps: MachineDeps,
  { name, actor, reason }: { name: string; actor: Actor; reason: string },
): Promise<Machine> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const machine = await requireMachine(deps, tx, name);
    if (machine.state === 'disabled') return machine;
    await deps.machines.disable(tx, machine.id);
    await record(deps, tx, 'machine.disabled', machine, at, { actor, reason: reason.slice(0, 500) });
    return { ...machine, state: 'disabled' };
  });
}

async function askRenewal(
  deps: MachineDeps,
  { name, csrDer, actor }: { name: string; csrDer?: Buffer; actor: Actor },
): Promise<Machine> {
  const key = csrDer === undefined ? null : provedKey(csrDer);
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const machine = await requireMachine(deps, tx, name);
    if (machine.state !== 'approved') {
      throw new FemtoError('STATE_CONFLICT', `The machine is ${machine.state}; it must be approved first.`, {
        facts: { state: machine.state },
      });
    }
    const changes = key !== null && !key.spkiHash.equals(machine.spkiHash);
    if (changes && !KEY_MAY_CHANGE.has(machine.kind)) {
      throw new FemtoError('KEY_IN_USE', 'This machine renews with its own key; a new key is a new request.');
    }
    const holder = changes ? await deps.machines.find(tx, { spkiHash: key.spkiHash }) : null;
    if (holder !== null)
      throw new FemtoError('KEY_IN_USE', 'The key belongs to another machine; generate a fresh one.');
    const next = changes ? key : machine;
    await deps.machines.askRenewal(tx, machine.id, next, at);
    if (changes) await record(deps, tx, 'machine.key-changed', { ...machine, ...next }, at, { actor });
    return { ...machine, spkiDer: next.spkiDer, spkiHash: next.spkiHash, renewRequestedAt: at };
  });
}

function provedKey(csrDer: Buffer): { spkiDer: Buffer; spkiHash: Buffer } {
  const csr = readCsr(csrDer);
  if (!verifyPossession(csr)) {
    throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries; make it anew.');
  }
  return { spkiDer: csr.spki.spkiDer, spkiHash: csr.spki.spkiHash };
}

async function requireMachine({ machines }: MachineDeps, tx: Transaction, name: string): Promise<Machine> {
  const machine = await machines.find(tx, { name }, 'update');
  if (machine === null) throw new FemtoError('NOT_FOUND', 'There is no such machine; list the machines first.');
  return machine;
}

async function record(
  { ledger }: MachineDeps,
  tx: Transaction,
  kind: string,
  machine: Machine,
  at: Date,
  facts: Record<string, unknown>,
): Promise<void> {
  await ledger.append(tx, [
    {
      kind,
      subject: `machine:${machine.name}`,
      at,
      body: {
        machineId: machine.id,
        machineKind: machine.kind,
        makerId: machine.makerId,
        spkiHash: machine.spkiHash.toString('hex'),
        ...facts,
      },
    },
  ]);
}
