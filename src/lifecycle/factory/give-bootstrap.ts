import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../x509/key-request.js';
import type { Actor, CertificateRecord, Unit, UnitState } from '../model/index.js';
import type { Batch } from '../registry/index.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryEnrolment } from './factory-office.js';

/** 24 months; the signer's own ceiling is 36 (requirements section 3). */
export const BOOTSTRAP_LIFE_SECONDS = 730 * 86_400;

/** What lets a unit have a bootstrap certificate: a station's credential, or a secret of its own. */
export interface BootstrapRight {
  readonly actor: Actor;
  /** For the ledger. */
  readonly facts: LedgerEntry['body'];
  /** May it serve the second certificate of a unit whose rework is recorded? */
  readonly coversRework: boolean;
  /**
   * In which transaction it is spent. `intent`: before anything is signed, for what is good once. `record`: with the
   * certificate, for what counts certificates, so that an attempt that breaks off at the token costs nothing.
   */
  readonly spentWith: 'intent' | 'record';
  /** @throws FemtoError when nothing is left of it */
  spend(tx: Transaction): Promise<void>;
}

/**
 * Is the unit still at its factory?
 * @throws FemtoError NOT_ON_MANIFEST, STATE_CONFLICT (batch closed, unit in service), DEVICE_*
 */
export async function checkAtFactory(deps: FactoryDeps, unit: Unit): Promise<void> {
  refuseOutsideFactory(unit, await deps.makers.batch(deps.transactor.read, { id: unit.batchId }));
}

/** As {@link checkAtFactory}, where the unit's batch is read already. */
export function refuseOutsideFactory(unit: Unit, batch: Batch | null): void {
  if (batch?.state === 'closed') {
    throw new FemtoError('STATE_CONFLICT', 'The batch is closed; enrolment of its units is over.', {
      facts: { errors: ['batch: closed'] },
    });
  }
  if (batch?.state !== 'open') throw notOnManifest();
  if (unit.state === 'MANIFESTED' || unit.state === 'BOOTSTRAPPED') return;
  throw new FemtoError(REFUSED_STATES[unit.state], 'The unit is past its factory; only the operator can help it now.');
}

/**
 * The request, then the certificate: the one that the unit holds for this key, else a new one against the right.
 *
 * @throws FemtoError POP_FAIL, ID_MISMATCH, BAD_REQUEST, STATE_CONFLICT, what `right.spend` throws, and issuance's
 */
export async function giveBootstrap(
  deps: FactoryDeps,
  { unit, request, right }: { unit: Unit; request: KeyRequest; right: BootstrapRight },
): Promise<FactoryEnrolment> {
  if (!verifyPossession(request))
    throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries; make it anew.');
  checkWishes(request, { fqdn: unit.fqdn });
  // The same key again gets the same certificate. A unit that was never given one has none; should that change just now,
  // issuance sees it.
  const stored = unit.state === 'MANIFESTED' ? null : await storedCertificate(deps, unit, request);
  if (stored !== null) return { certificate: stored, chain: await chainOf(deps, stored), repeated: true };
  if (unit.state === 'BOOTSTRAPPED' && !right.coversRework) throw reworkNeeded();
  // Recorded intent, token, record.
  try {
    const certificate = await issueBootstrap(deps, unit, request, right);
    return { certificate, chain: await chainOf(deps, certificate), repeated: false };
  } catch (thrown) {
    // Two tries of one caller at once: the slower finds the unit enrolled, and its own key's certificate there.
    if (!(thrown instanceof FemtoError) || !LOST_RACE.has(thrown.code)) throw thrown;
    const winner = await storedCertificate(deps, unit, request);
    if (winner === null) throw thrown;
    return { certificate: winner, chain: await chainOf(deps, winner), repeated: true };
  }
}

/** What issuance says when a twin of the request was faster, or is being signed at this moment. */
const LOST_RACE: ReadonlySet<string> = new Set(['STATE_CONFLICT', 'KEY_IN_USE', 'RETRY_LATER']);

async function issueBootstrap(
  deps: FactoryDeps,
  unit: Unit,
  request: KeyRequest,
  right: BootstrapRight,
): Promise<CertificateRecord> {
  const { actor } = right;
  const rework = unit.state === 'BOOTSTRAPPED';
  return deps.issuance.issue({
    purpose: 'bootstrap',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: request.spki,
    lifeSeconds: BOOTSTRAP_LIFE_SECONDS,
    revocationEpoch: unit.revocationEpoch,
    successor: null,
    actor,
    facts: { ...right.facts, batchId: unit.batchId, rework },
    ...(rework ? {} : { hooksTogether: true }),
    withIntent: async (tx) => {
      const now = await deps.registry.unitById(tx, unit.id, { lock: 'update' });
      if (now?.state !== unit.state) throw new FemtoError('STATE_CONFLICT', 'The unit changed meanwhile; ask again.');
      if (rework) {
        if (!(await deps.units.reworkAllowed(tx, unit.id))) throw reworkNeeded();
        await deps.units.writeRework(tx, unit.id, false);
      }
      if (right.spentWith === 'intent') await right.spend(tx);
    },
    withIssued: async (tx, certificate) => {
      if (rework) await revokeEarlier(deps, tx, unit, certificate, actor);
      else {
        await deps.registry.changeState(tx, {
          unitId: unit.id,
          from: 'MANIFESTED',
          to: 'BOOTSTRAPPED',
          actor,
          reason: 'bootstrap certificate issued at the factory',
          at: deps.clock.now(),
        });
      }
      if (right.spentWith === 'record') await right.spend(tx);
    },
  });
}

/** After rework the old board's certificate must prove nothing any more. */
async function revokeEarlier(
  deps: FactoryDeps,
  tx: Transaction,
  unit: Unit,
  issued: CertificateRecord,
  actor: Actor,
): Promise<void> {
  const at = deps.clock.now();
  const earlier = (await deps.bootstraps.bootstrapsOfUnit(tx, unit.id, at)).filter(
    ({ serial }) => !serial.equals(issued.serial),
  );
  if (earlier.length === 0) return;
  // An activation under the old board's key that is at the token now must not be recorded after this.
  const change = { state: 'revoked', reason: 'superseded', actor, at, note: 'rework', voidsInFlight: true } as const;
  await deps.revocation.setStatus(tx, earlier, change);
}

/** The newest bootstrap certificate, when it is for this key. */
async function storedCertificate(
  deps: FactoryDeps,
  unit: Unit,
  request: KeyRequest,
): Promise<CertificateRecord | null> {
  const [newest] = await deps.bootstraps.bootstrapsOfUnit(deps.transactor.read, unit.id, deps.clock.now());
  if (newest === undefined) return null;
  if (newest.spkiHash.equals(request.spki.spkiHash)) return newest;
  if (!(await deps.transactor.run((tx) => deps.units.reworkAllowed(tx, unit.id)))) throw reworkNeeded();
  return null;
}

const REFUSED_STATES: Readonly<Record<Exclude<UnitState, 'MANIFESTED' | 'BOOTSTRAPPED'>, FemtoError['code']>> = {
  ACTIVE: 'STATE_CONFLICT',
  DORMANT: 'STATE_CONFLICT',
  SUSPENDED: 'DEVICE_SUSPENDED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};

/** Bootstrap CA, then its root. */
async function chainOf({ issuers }: FactoryDeps, { issuerId }: CertificateRecord): Promise<Buffer[]> {
  const issuer = await issuers.byId(issuerId);
  if (issuer === null) throw new FemtoError('INTERNAL', 'The issuing CA has no row; run femtopki doctor.');
  const root = await issuers.bySpkiOrSignature({ der: issuer.certificateDer });
  return root === null ? [issuer.certificateDer] : [issuer.certificateDer, root.certificateDer];
}

export function notOnManifest(): FemtoError {
  return new FemtoError('NOT_ON_MANIFEST', 'The serial number is on no accepted manifest; submit the manifest first.');
}

function reworkNeeded(): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    'The unit has a certificate for another key; the manufacturer admin must record rework first.',
    { facts: { errors: ['unit: rework not recorded'] } },
  );
}
