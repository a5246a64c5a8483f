import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { comebackTier, headOf, type Lineages } from '../lineage/index.js';
import type { Actor, Unit } from '../model/index.js';
import type { Registry } from '../registry/index.js';
import type { CreatedGrant, GrantRequest } from './enrolment.js';
import { hashGrantCode, newGrantCode } from './grant-code.js';
import type { GrantStore } from './grant-store.js';

export interface GrantDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly registry: Pick<Registry, 'unitById' | 'lineById'>;
  readonly lineages: Pick<Lineages, 'liveViewOfUnit'>;
  readonly grants: GrantStore;
  readonly ledger: Ledger;
}

/** Leave to activate a unit on a line, once. The code, where there is one, is in this answer and nowhere else. */
export async function createGrant(deps: GrantDeps, request: GrantRequest): Promise<CreatedGrant> {
  const { lifeSeconds } = request;
  if (!Number.isInteger(lifeSeconds) || lifeSeconds < LIFE_SECONDS_MIN || lifeSeconds > LIFE_SECONDS_MAX) {
    throw new FemtoError('BAD_REQUEST', 'A grant lives between one hour and thirty days; choose a life inside that.');
  }
  return deps.transactor.run(async (tx) => {
    const now = deps.clock.now();
    const unit = await deps.registry.unitById(tx, request.unitId, { lock: 'share' });
    if (unit === null) throw new FemtoError('NOT_FOUND', 'There is no such unit; look it up by its serial number.');
    const line = await deps.registry.lineById(tx, request.lineId);
    if (line === null) throw new FemtoError('NOT_FOUND', 'There is no such line; list the lines first.');
    checkMayBeGranted(unit);
    const approvedBy = typeof request.approvedBy === 'function' ? await request.approvedBy(tx) : request.approvedBy;
    await checkApproval(deps, tx, unit, { createdBy: request.createdBy, approvedBy }, now);

    const code = request.kind === 'code' ? newGrantCode(deps.random) : null;
    const expiresAt = new Date(now.getTime() + lifeSeconds * 1_000);
    await deps.grants.withdrawExpired(tx, unit.id, now);
    const grant = await deps.grants.insert(tx, {
      unitId: unit.id,
      kind: request.kind,
      code: code === null ? null : hashGrantCode(code, deps.random),
      lineId: line.id,
      createdBy: request.createdBy,
      approvedBy,
      createdAt: now,
      expiresAt,
    });
    const { kind, createdBy } = request;
    await deps.ledger.append(tx, [
      {
        kind: 'grant.created',
        subject: `unit:${unit.serialNumber}`,
        at: now,
        body: { grantId: grant.id, kind, line: line.name, createdBy, approvedBy, expiresAt: expiresAt.toISOString() },
      },
    ]);
    return { grantId: grant.id, code, expiresAt };
  });
}

/** Ends the unit's grant, open or locked by wrong codes, so that another can be made. */
export async function withdrawGrant(
  deps: Pick<GrantDeps, 'transactor' | 'clock' | 'grants' | 'ledger' | 'registry'>,
  { unitId, actor }: { readonly unitId: number; readonly actor: Actor },
): Promise<{ readonly grantId: number }> {
  return deps.transactor.run(async (tx) => {
    const unit = await deps.registry.unitById(tx, unitId, { lock: 'share' });
    const grant = await deps.grants.latest(tx, unitId);
    if (unit === null || grant === null) throw new FemtoError('NOT_FOUND', 'The unit has no grant; create one.');
    if (!(await deps.grants.withdraw(tx, grant.id))) {
      throw new FemtoError('STATE_CONFLICT', `The unit’s grant is ${grant.state}; nothing is left to withdraw.`, {
        facts: { state: grant.state },
      });
    }
    const body = { grantId: grant.id, actor };
    const subject = `unit:${unit.serialNumber}`;
    await deps.ledger.append(tx, [{ kind: 'grant.withdrawn', subject, at: deps.clock.now(), body }]);
    return { grantId: grant.id };
  });
}

function checkMayBeGranted(unit: Unit): void {
  if (GRANTABLE.has(unit.state)) return;
  throw new FemtoError('STATE_CONFLICT', `The unit is ${unit.state}; bring it to a state that may activate first.`, {
    facts: { state: unit.state },
  });
}

/** Rules 3.6 and REN-5: replacing a head that still works, or one silent for a quarter of a year, takes two people. */
async function checkApproval(
  deps: GrantDeps,
  tx: Transaction,
  unit: Unit,
  { createdBy, approvedBy }: { readonly createdBy: Actor; readonly approvedBy: Actor | null },
  now: Date,
): Promise<void> {
  if (approvedBy !== null && approvedBy !== createdBy) return;
  const live = await deps.lineages.liveViewOfUnit(tx, unit.id);
  const head = live === null ? null : headOf(live.slots);
  if (head === null) return;
  const tier = comebackTier({ notAfter: head.notAfter, now, line: 'match' });
  if (tier === 'reactivate') return;
  throw new FemtoError(
    'APPROVAL_REQUIRED',
    tier === 'activate'
      ? 'The unit was silent for more than 90 days after its certificate ended; ask a second person to approve the grant.'
      : 'The unit holds a certificate that works or may renew; ask a second person to approve replacing it.',
    { facts: { headGeneration: head.generation, headNotAfter: head.notAfter.toISOString() } },
  );
}

const GRANTABLE: ReadonlySet<Unit['state']> = new Set(['BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED']);
const LIFE_SECONDS_MIN = 3_600;
const LIFE_SECONDS_MAX = 30 * 86_400;
