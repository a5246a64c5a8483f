import { FemtoError } from '../../platform/errors.js';
import { isInPrefixes, sourcePrefix } from '../../platform/net/ip-address.js';
import type { Unit } from '../model/index.js';
import { record } from './create-credential.js';
import type { FactoryCredential } from './factory-credential.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryCaller } from './factory-office.js';

/** Proved uses from elsewhere that freeze a credential (FAC-1). */
export const VIOLATIONS_MAX = 5;

/**
 * Does the caller's credential cover this batch, from here, now? Quota is not looked at: it is taken in the issuing
 * transaction, and a repeat needs none.
 *
 * @param request.batchId  null when the unit asked about is on no manifest: the other limits are checked all the same, so
 *   that a stolen credential learns nothing from elsewhere
 * @throws FemtoError CREDENTIAL_FROZEN, CREDENTIAL_EXPIRED, CREDENTIAL_SCOPE
 */
export async function checkFactoryCredential(
  deps: FactoryDeps,
  request: {
    caller: FactoryCaller;
    batchId: number | null;
    address: string;
    /** As {@link credentialsOf} gave them; read here where they are absent. */
    held?: readonly FactoryCredential[];
  },
): Promise<FactoryCredential> {
  const { caller, batchId, address, held = await credentialsOf(deps, caller) } = request;
  const credential = chooseCredential(held, batchId);
  const now = deps.clock.now();
  if (credential.state === 'frozen') throw frozen();
  const maker = await deps.makers.maker(deps.transactor.read, { id: credential.makerId });
  if (maker?.state !== 'active') {
    throw new FemtoError(
      'CREDENTIAL_FROZEN',
      'The maker is frozen, and its credentials with it; talk to the operator.',
    );
  }
  if (credential.state === 'revoked')
    throw scope('CREDENTIAL_EXPIRED', 'state', 'The credential was ended; ask for a new one.');
  if (now < credential.notBefore || now >= credential.expiresAt) {
    throw scope('CREDENTIAL_EXPIRED', 'expiry', 'The credential is not valid now; ask for a new one.');
  }
  if (!isInPrefixes(address, credential.cidrs)) await refuseFromElsewhere(deps, credential, address, now);
  if (!isInHours(now, credential)) {
    throw scope('CREDENTIAL_SCOPE', 'hours', 'The credential is not valid at this hour (UTC); enrol in its hours.');
  }
  if (credential.makerId !== caller.makerId)
    throw scope('CREDENTIAL_SCOPE', 'maker', 'The credential is another maker’s.');
  if (batchId !== null && credential.batchId !== batchId) {
    throw scope('CREDENTIAL_SCOPE', 'batch', 'The credential is for another batch; use the one of this batch.');
  }
  return credential;
}

/**
 * The network policy on a factory's work (NET-1): it can wait for a database of addresses, so what cannot be placed is
 * refused unless the policy says otherwise (NET-3).
 *
 * @throws FemtoError NET_*
 */
export async function checkFactoryNetwork(
  { network, transactor }: FactoryDeps,
  { id: unitId }: Pick<Unit, 'id'>,
  address: string,
): Promise<void> {
  await network.check(transactor.read, { event: 'enrolment', unitId, address, restrictedMay: 'not go on' });
}

/** The one that a token names, or all of a station; newest first. */
export async function credentialsOf(deps: FactoryDeps, caller: FactoryCaller): Promise<readonly FactoryCredential[]> {
  const { read } = deps.transactor;
  if (caller.credentialName !== null) {
    const credential = await deps.credentials.find(read, { name: caller.credentialName });
    if (credential !== null) return [credential];
  }
  return deps.credentials.ofStation(read, caller.spkiHash);
}

/** A station may hold one credential a batch: the newest for this batch, else the newest of all and its refusal. */
function chooseCredential(held: readonly FactoryCredential[], batchId: number | null): FactoryCredential {
  const chosen = held.find((credential) => credential.batchId === batchId) ?? held[0];
  if (chosen === undefined) {
    throw scope('CREDENTIAL_SCOPE', 'none', 'The station has no factory credential; ask the operator for one.');
  }
  return chosen;
}

/** Counted in a transaction of its own, so that the refusal stays counted. */
async function refuseFromElsewhere(
  deps: FactoryDeps,
  credential: FactoryCredential,
  address: string,
  at: Date,
): Promise<never> {
  const { frozenNow } = await deps.transactor.run(async (tx) => {
    const counted = await deps.credentials.countViolation(tx, credential.id, VIOLATIONS_MAX);
    if (counted.frozenNow) {
      await record(deps, tx, 'credential.frozen', credential, at, {
        violations: counted.violations,
        lastSource: sourcePrefix(address),
        actor: 'system:factory',
      });
    }
    return counted;
  });
  if (frozenNow) throw frozen();
  throw scope('CREDENTIAL_SCOPE', 'network', 'The credential is not valid from this network; enrol from its site.');
}

function isInHours(now: Date, { hourFrom, hourTo }: FactoryCredential): boolean {
  const hour = now.getUTCHours();
  return hourFrom < hourTo ? hour >= hourFrom && hour < hourTo : hour >= hourFrom || hour < hourTo;
}

function frozen(): FemtoError {
  return new FemtoError(
    'CREDENTIAL_FROZEN',
    'The credential is frozen after use from elsewhere; talk to the operator.',
  );
}

function scope(code: 'CREDENTIAL_SCOPE' | 'CREDENTIAL_EXPIRED', limit: string, message: string): FemtoError {
  return new FemtoError(code, message, { facts: { limit, errors: [`limit: ${limit}`] } });
}
