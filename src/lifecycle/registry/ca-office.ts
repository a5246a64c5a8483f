import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { readCertificate } from '../../x509/certificate.js';
import type { Actor, Issuer } from '../model/index.js';
import type { CaRow, CaStore } from './ca-store.js';
import type { IssuerDirectory } from './issuer-directory.js';
import type { MachineStore } from './machine-store.js';

/** A CA or root as people see it during a rollover. */
export interface CaStanding {
  readonly label: string;
  readonly kind: Issuer['kind'];
  readonly state: Issuer['state'];
  readonly parentLabel: string | null;
  readonly certificateSha256: string;
  readonly notAfter: Date;
  readonly activatedAt: Date | null;
  readonly closedAt: Date | null;
  /** Of a closing CA: when its last certificate ends, and with it its work. Null: none is left, or it is not closing. */
  readonly lastCertificateEndsAt: Date | null;
  /** Approved gateways that have not acknowledged it yet; only of what must be acknowledged. */
  readonly unacknowledgedBy: readonly string[];
}

/** Spends what two people signed, in the transaction that acts; returns the second one as the ledger names people. */
export type SpendApproval = (tx: Transaction) => Promise<Actor>;

/**
 * Our CAs come into use and go out of it while every process runs: each reads the states again within
 * ten seconds. Never back: a CA that stopped issuing does not issue again.
 */
export interface CaOffice {
  list(): Promise<CaStanding[]>;
  /**
   * Takes a spare into use: from now on new certificates are spread over it and the others of its kind.
   *
   * @throws FemtoError NOT_FOUND; UNKNOWN_ISSUER for one that stopped issuing; STATE_CONFLICT where a gateway has not
   *   acknowledged it (or its root, where that is no first one), or its CRL or OCSP signer is not there
   */
  activate(act: { label: string; actor: Actor }, spend: SpendApproval): Promise<CaStanding>;
  /**
   * Ends its issuing for good; certificates, CRL and OCSP go on until the last certificate has ended. A root can be
   * retired once another has followed it and nothing under it is left.
   *
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT for the last active one of its kind, and for a root still needed
   */
  retire(act: { label: string; reason: string; actor: Actor }, spend: SpendApproval): Promise<CaStanding>;
  /** A gateway knows a CA or a root. Again changes nothing. @throws FemtoError NOT_FOUND */
  acknowledge(ack: { gateway: string; certificateSha256: string; actor: Actor }): Promise<{ label: string }>;
  /** For the worker: closing CAs without a living certificate become retired. @returns their labels */
  settleClosing(): Promise<string[]>;
}

export interface CaOfficeDeps {
  readonly transactor: Transactor;
  readonly cas: CaStore;
  readonly machines: Pick<MachineStore, 'find'>;
  readonly issuers: Pick<IssuerDirectory, 'refresh'>;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

export function makeCaOffice(deps: CaOfficeDeps): CaOffice {
  return {
    list: async () => {
      const rows = await deps.cas.cas(deps.transactor.read);
      return Promise.all(rows.map((row) => standing(deps, deps.transactor.read, row)));
    },
    activate: (act, spend) => activate(deps, act, spend),
    retire: (act, spend) => retire(deps, act, spend),
    acknowledge: (ack) => acknowledge(deps, ack),
    settleClosing: () => settleClosing(deps),
  };
}

/** 1 is it a spare? → 2 can the world check what it will sign? → 3 do the gateways know it? → 4 two people → 5 record. */
async function activate(
  deps: CaOfficeDeps,
  { label, actor }: { label: string; actor: Actor },
  spend: SpendApproval,
): Promise<CaStanding> {
  const at = deps.clock.now();
  const done = await deps.transactor.run(async (tx) => {
    const ca = await requireCa(deps, tx, label);
    if (ca.state === 'closing' || ca.state === 'retired') {
      throw new FemtoError('UNKNOWN_ISSUER', `${label} stopped issuing for good; activate a spare instead.`);
    }
    if (ca.state !== 'spare') throw conflict(`${label} is ${ca.state}; only a spare comes into use.`);
    if (ca.ocspSignerNotAfter === null || ca.ocspSignerNotAfter <= at) {
      throw conflict(`${label} has no OCSP signer; see that rotation-worker and signer run, then activate it again.`);
    }
    if (ca.crlNextUpdate === null || ca.crlNextUpdate <= at) {
      throw conflict(`${label} has published no CRL yet; see that rotation-worker runs, then activate it again.`);
    }
    for (const known of await toAcknowledge(deps, tx, ca)) {
      const missing = await deps.cas.gatewaysWithout(tx, known.id);
      if (missing.length === 0) continue;
      throw conflict(
        `${missing.length} gateways have not acknowledged ${known.label}: ${missing.slice(0, GATEWAYS_NAMED_MAX).join(', ')}. ` +
          'Give it to them first (docs/rollover.md).',
      );
    }
    const approvedBy = await spend(tx);
    await deps.cas.setState(tx, ca.id, 'active', at);
    await record(deps, tx, 'ca.activated', ca, { actor, approvedBy });
    return standing(deps, tx, { ...ca, state: 'active', activatedAt: at });
  });
  await deps.issuers.refresh();
  return done;
}

async function retire(
  deps: CaOfficeDeps,
  { label, reason, actor }: { label: string; reason: string; actor: Actor },
  spend: SpendApproval,
): Promise<CaStanding> {
  const at = deps.clock.now();
  const done = await deps.transactor.run(async (tx) => {
    const ca = await requireCa(deps, tx, label);
    if (ca.state === 'closing' || ca.state === 'retired') throw conflict(`${label} is ${ca.state} already.`);
    const others = (await deps.cas.cas(tx)).filter(({ id }) => id !== ca.id);
    const isRoot = ca.parentLabel === null;
    if (isRoot) checkRootDone(ca, others);
    else if (ca.state === 'active' && !others.some(({ kind, state }) => kind === ca.kind && state === 'active')) {
      throw conflict(`${label} is the only active ${ca.kind}; activate another one first.`);
    }
    const approvedBy = await spend(tx);
    const lastCertificateEndsAt = isRoot ? null : await deps.cas.lastNotAfter(tx, ca.id, at);
    const state = isRoot ? 'retired' : 'closing';
    await deps.cas.setState(tx, ca.id, state, at);
    const facts = { actor, approvedBy, reason, lastCertificateEndsAt: lastCertificateEndsAt?.toISOString() ?? null };
    await record(deps, tx, isRoot ? 'ca.retired' : 'ca.closed', ca, facts);
    return standing(deps, tx, { ...ca, state, closedAt: at });
  });
  await deps.issuers.refresh();
  return done;
}

/** A root ends when another has followed it and every CA under it is retired: until then units chain to it. */
function checkRootDone(root: CaRow, others: readonly CaRow[]): void {
  if (!others.some(({ predecessorLabel }) => predecessorLabel === root.label)) {
    throw conflict(`${root.label} has no successor; hold the ceremony of a new root first.`);
  }
  const left = others.filter(({ parentLabel, state }) => parentLabel === root.label && state !== 'retired');
  if (left.length === 0) return;
  const names = left.map(({ label, state }) => `${label} (${state})`).join(', ');
  throw conflict(`${names} under ${root.label} are not retired; units still chain to it.`);
}

async function acknowledge(
  deps: CaOfficeDeps,
  { gateway, certificateSha256, actor }: { gateway: string; certificateSha256: string; actor: Actor },
): Promise<{ label: string }> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const machine = await deps.machines.find(tx, { name: gateway });
    if (machine?.kind !== 'gateway') throw new FemtoError('NOT_FOUND', `There is no gateway ${gateway}.`);
    const ca = (await deps.cas.cas(tx)).find((one) => fingerprint(one) === certificateSha256);
    if (ca === undefined || (ca.kind !== 'device-ca' && ca.kind !== 'root-access')) {
      throw new FemtoError('NOT_FOUND', 'No Device CA and no Access Root of ours has this hash; list them first.');
    }
    if (await deps.cas.acknowledge(tx, { gatewayId: machine.id, issuerId: ca.id, by: actor, at })) {
      await record(deps, tx, 'ca.acknowledged', ca, { gateway, actor });
    }
    return { label: ca.label };
  });
}

async function settleClosing(deps: CaOfficeDeps): Promise<string[]> {
  const settled: string[] = [];
  for (const { label, state } of await deps.cas.cas(deps.transactor.read)) {
    if (state !== 'closing') continue;
    const isOver = await deps.transactor.run(async (tx) => {
      const at = deps.clock.now();
      const ca = await requireCa(deps, tx, label);
      // Whoever read the states just before it closed may still issue for as long as states are remembered.
      if (ca.state !== 'closing' || ca.closedAt === null || at.getTime() - ca.closedAt.getTime() < SETTLE_MS_MIN)
        return false;
      if ((await deps.cas.lastNotAfter(tx, ca.id, at)) !== null) return false;
      await deps.cas.setState(tx, ca.id, 'retired', at);
      await record(deps, tx, 'ca.retired', ca, { actor: 'system:rotation-worker' });
      return true;
    });
    if (isOver) settled.push(label);
  }
  return settled;
}

/**
 * What every gateway must have acknowledged before this CA issues: a Device CA, and its root unless it is the one that
 * gateways were set up with (rules 1.3). Other kinds mean nothing to a gateway.
 */
async function toAcknowledge(deps: CaOfficeDeps, tx: Transaction, ca: CaRow): Promise<CaRow[]> {
  if (ca.kind !== 'device-ca') return [];
  const root = (await deps.cas.cas(tx)).find(({ label }) => label === ca.parentLabel);
  return root !== undefined && root.predecessorLabel !== null ? [root, ca] : [ca];
}

async function standing(deps: CaOfficeDeps, tx: Transaction, ca: CaRow): Promise<CaStanding> {
  const isAwaited =
    (ca.kind === 'device-ca' && ca.state === 'spare') || (ca.predecessorLabel !== null && ca.state === 'offline');
  const { label, kind, state, parentLabel, notAfter, activatedAt, closedAt } = ca;
  return {
    label,
    kind,
    state,
    parentLabel,
    certificateSha256: fingerprint(ca),
    notAfter,
    activatedAt,
    closedAt,
    lastCertificateEndsAt: state === 'closing' ? await deps.cas.lastNotAfter(tx, ca.id, deps.clock.now()) : null,
    unacknowledgedBy: isAwaited ? await deps.cas.gatewaysWithout(tx, ca.id) : [],
  };
}

async function requireCa(deps: CaOfficeDeps, tx: Transaction, label: string): Promise<CaRow> {
  const ca = await deps.cas.lockCa(tx, label);
  if (ca !== null) return ca;
  throw new FemtoError('NOT_FOUND', `There is no CA ${label.slice(0, 64)}; femtopki ca list shows them.`);
}

async function record(
  deps: CaOfficeDeps,
  tx: Transaction,
  kind: string,
  ca: CaRow,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  const body = { issuerId: ca.id, kind: ca.kind, certificateSha256: fingerprint(ca), ...facts };
  await deps.ledger.append(tx, [{ kind, subject: `issuer:${ca.label}`, at: deps.clock.now(), body }]);
}

function fingerprint({ certificateDer }: Pick<CaRow, 'certificateDer'>): string {
  return readCertificate(certificateDer).fingerprint;
}

function conflict(sentence: string): FemtoError {
  return new FemtoError('STATE_CONFLICT', sentence);
}

const GATEWAYS_NAMED_MAX = 10;
/** Longer than any process remembers a state, and than an issuance takes. */
const SETTLE_MS_MIN = 60_000;
