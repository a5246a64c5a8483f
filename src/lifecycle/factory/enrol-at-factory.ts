import { FemtoError } from '../../platform/errors.js';
import { csrBytesFromText, readCsr } from '../../x509/csr.js';
import { exposedKeys } from '../../x509/exposed-key.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../x509/key-request.js';
import type { CertificateRecord, Unit, UnitState } from '../model/index.js';
import { checkFactoryCredential } from './check-credential.js';
import type { FactoryCredential } from './factory-credential.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryEnrolment, FactoryEnrolRequest } from './factory-office.js';

/** 24 months; the signer's own ceiling is 36 (requirements section 3). */
export const BOOTSTRAP_LIFE_SECONDS = 730 * 86_400;

/**
 * A unit's first identity (FAC-3). The order is the order of trust: caller, credential, manifest, and only then the bytes
 * of the request.
 */
export async function enrolAtFactory(deps: FactoryDeps, request: FactoryEnrolRequest): Promise<FactoryEnrolment> {
  const { caller, address } = request;
  // 1. Which unit is it about? Another maker's does not exist here (ADM-4). Nothing is said yet.
  const found = await deps.registry.unitBySerialNumber(deps.transactor.read, request.serialNumber);
  const unit = found?.makerId === caller.makerId ? found : null;
  // 2. The credential's limits, before a byte of the request is parsed.
  const credential = await checkFactoryCredential(deps, { caller, batchId: unit?.batchId ?? null, address });
  // 3. On an accepted manifest, and still at its factory?
  if (unit === null) throw notOnManifest();
  await checkBatchOpen(deps, unit);
  checkState(unit.state);
  if (unit.state === 'MANIFESTED' && credential.used >= credential.quota) throw quotaExceeded();
  // 4. The request itself: form, key, possession, wishes.
  const csr = await readRequest(deps, request);
  if (!verifyPossession(csr))
    throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries; make it anew.');
  checkWishes(csr, { fqdn: unit.fqdn });
  // 5. The same key again gets the same certificate.
  const stored = await storedCertificate(deps, unit, csr);
  if (stored !== null) return { certificate: stored, chain: await chainOf(deps, stored), repeated: true };
  // 6. Recorded intent, token, record.
  try {
    const certificate = await issueBootstrap(deps, { unit, csr, credential, actor: caller.actor });
    return { certificate, chain: await chainOf(deps, certificate), repeated: false };
  } catch (thrown) {
    // Two tries of one station at once: the slower finds the unit enrolled, and its own key's certificate there.
    if (!(thrown instanceof FemtoError) || !LOST_RACE.has(thrown.code)) throw thrown;
    const winner = await storedCertificate(deps, unit, csr);
    if (winner === null) throw thrown;
    return { certificate: winner, chain: await chainOf(deps, winner), repeated: true };
  }
}

/** What issuance says when a twin of the request was faster, or is being signed at this moment. */
const LOST_RACE: ReadonlySet<string> = new Set(['STATE_CONFLICT', 'KEY_IN_USE', 'RETRY_LATER']);

async function issueBootstrap(
  deps: FactoryDeps,
  { unit, csr, credential, actor }: { unit: Unit; csr: KeyRequest; credential: FactoryCredential; actor: string },
): Promise<CertificateRecord> {
  const at = deps.clock.now();
  const rework = unit.state === 'BOOTSTRAPPED';
  return deps.issuance.issue({
    purpose: 'bootstrap',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: csr.spki,
    lifeSeconds: BOOTSTRAP_LIFE_SECONDS,
    revocationEpoch: unit.revocationEpoch,
    successor: null,
    actor,
    facts: { credentialId: credential.id, batchId: unit.batchId, rework },
    withIntent: async (tx) => {
      const now = await deps.registry.unitById(tx, unit.id, { lock: 'update' });
      if (now?.state !== unit.state) throw new FemtoError('STATE_CONFLICT', 'The unit changed meanwhile; ask again.');
      if (rework) {
        if (!(await deps.units.reworkAllowed(tx, unit.id))) throw reworkNeeded();
        await deps.units.writeRework(tx, unit.id, false);
      }
      if (!(await deps.credentials.takeQuota(tx, credential.id, at))) throw quotaExceeded();
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
          at,
        });
      }
    },
  });
}

/** After rework the old board's certificate must prove nothing any more. */
async function revokeEarlier(
  deps: FactoryDeps,
  tx: Parameters<FactoryDeps['revocation']['setStatus']>[0],
  unit: Unit,
  issued: CertificateRecord,
  actor: string,
): Promise<void> {
  const at = deps.clock.now();
  const earlier = (await deps.bootstraps.ofUnit(tx, unit.id, at)).filter(({ serial }) => !serial.equals(issued.serial));
  if (earlier.length === 0) return;
  // An activation under the old board's key that is at the token now must not be recorded after this.
  const change = { state: 'revoked', reason: 'superseded', actor, at, note: 'rework', voidsInFlight: true } as const;
  await deps.revocation.setStatus(tx, earlier, change);
}

/** The newest bootstrap certificate, when it is for this key. */
async function storedCertificate(deps: FactoryDeps, unit: Unit, csr: KeyRequest): Promise<CertificateRecord | null> {
  const [newest] = await deps.bootstraps.ofUnit(deps.transactor.read, unit.id, deps.clock.now());
  if (newest === undefined) return null;
  if (newest.spkiHash.equals(csr.spki.spkiHash)) return newest;
  if (!(await deps.transactor.run((tx) => deps.units.reworkAllowed(tx, unit.id)))) throw reworkNeeded();
  return null;
}

/** Reads the request; a private key inside is blocked for ever before the refusal goes out (KEY-6). */
async function readRequest(deps: FactoryDeps, request: FactoryEnrolRequest): Promise<KeyRequest> {
  try {
    return readCsr(csrBytesFromText(request.csr));
  } catch (thrown) {
    if (thrown instanceof FemtoError && thrown.code === 'KEY_BLOCKED') {
      for (const spkiHash of exposedKeys(Buffer.from(request.csr, 'utf8'))) {
        await deps.revocation.blockKey({
          spkiHash,
          actor: request.caller.actor,
          personId: null,
          note: 'the private key was sent in a factory request',
          source: 'upload',
        });
      }
    }
    throw thrown;
  }
}

async function checkBatchOpen(deps: FactoryDeps, unit: Unit): Promise<void> {
  const batch = await deps.makers.batch(deps.transactor.read, { id: unit.batchId });
  if (batch?.state === 'open') return;
  if (batch?.state !== 'closed') throw notOnManifest();
  throw new FemtoError('STATE_CONFLICT', 'The batch is closed; enrolment of its units is over.', {
    facts: { errors: ['batch: closed'] },
  });
}

const REFUSED_STATES: Readonly<Record<Exclude<UnitState, 'MANIFESTED' | 'BOOTSTRAPPED'>, FemtoError['code']>> = {
  ACTIVE: 'STATE_CONFLICT',
  DORMANT: 'STATE_CONFLICT',
  SUSPENDED: 'DEVICE_SUSPENDED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};

function checkState(state: UnitState): void {
  if (state === 'MANIFESTED' || state === 'BOOTSTRAPPED') return;
  throw new FemtoError(REFUSED_STATES[state], 'The unit is past its factory; only the operator can help it now.');
}

/** Bootstrap CA, then its root. */
async function chainOf({ issuers }: FactoryDeps, { issuerId }: CertificateRecord): Promise<Buffer[]> {
  const issuer = await issuers.byId(issuerId);
  if (issuer === null) throw new FemtoError('INTERNAL', 'The issuing CA has no row; run femtopki doctor.');
  const root = await issuers.bySpkiOrSignature({ der: issuer.certificateDer });
  return root === null ? [issuer.certificateDer] : [issuer.certificateDer, root.certificateDer];
}

function notOnManifest(): FemtoError {
  return new FemtoError('NOT_ON_MANIFEST', 'The serial number is on no accepted manifest; submit the manifest first.');
}

function quotaExceeded(): FemtoError {
  return new FemtoError('QUOTA_EXCEEDED', 'The credential’s quota is used up; ask the operator for a new credential.');
}

function reworkNeeded(): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    'The unit has a certificate for another key; the manufacturer admin must record rework first.',
    { facts: { errors: ['unit: rework not recorded'] } },
  );
}
