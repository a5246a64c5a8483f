import { FemtoError } from '../../platform/errors.js';
import { csrBytesFromText, readCsr } from '../../x509/csr.js';
import { exposedKeys } from '../../x509/exposed-key.js';
import type { KeyRequest } from '../../x509/key-request.js';
import { checkFactoryCredential, checkFactoryNetwork, credentialsOf } from './check-credential.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryEnrolment, FactoryEnrolRequest } from './factory-office.js';
import { giveBootstrap, notOnManifest, refuseOutsideFactory } from './give-bootstrap.js';

/**
 * A unit's first identity (FAC-3). The order is the order of trust: caller, credential, manifest, and only then the bytes
 * of the request.
 */
export async function enrolAtFactory(deps: FactoryDeps, request: FactoryEnrolRequest): Promise<FactoryEnrolment> {
  const { caller, address } = request;
  // 1. Which unit is it about? Another maker's does not exist here (ADM-4). Nothing is said yet.
  const { read } = deps.transactor;
  const [found, held] = await Promise.all([
    deps.registry.unitBySerialNumber(read, request.serialNumber),
    credentialsOf(deps, caller),
  ]);
  const unit = found?.makerId === caller.makerId ? found : null;
  // 2. The credential's limits, before a byte of the request is parsed.
  const [credential, batch] = await Promise.all([
    checkFactoryCredential(deps, { caller, batchId: unit?.batchId ?? null, address, held }),
    unit === null ? null : deps.makers.batch(read, { id: unit.batchId }),
  ]);
  // 3. On an accepted manifest, and still at its factory?
  if (unit === null) throw notOnManifest();
  await checkFactoryNetwork(deps, unit, address);
  refuseOutsideFactory(unit, batch);
  if (unit.state === 'MANIFESTED' && credential.used >= credential.quota) throw quotaExceeded();
  // 4. The request itself: form and key; then possession, wishes, and the certificate.
  const at = deps.clock.now();
  return giveBootstrap(deps, {
    unit,
    request: await readRequest(deps, request),
    right: {
      actor: caller.actor,
      facts: { credentialId: credential.id },
      coversRework: true,
      spentWith: 'record',
      spend: async (tx) => {
        if (!(await deps.credentials.takeQuota(tx, credential.id, at))) throw quotaExceeded();
      },
    },
  });
}

/** Reads the request; a private key inside is blocked for ever before the refusal goes out (KEY-6). */
async function readRequest(deps: FactoryDeps, { csr, caller }: FactoryEnrolRequest): Promise<KeyRequest> {
  try {
    return readCsr(csrBytesFromText(csr));
  } catch (thrown) {
    if (thrown instanceof FemtoError && thrown.code === 'KEY_BLOCKED') {
      const note = 'the private key was sent in a factory request';
      const spkiHashes = exposedKeys(Buffer.from(csr, 'utf8'));
      await deps.revocation.blockKeys({ spkiHashes, actor: caller.actor, personId: null, note, source: 'upload' });
    }
    throw thrown;
  }
}

function quotaExceeded(): FemtoError {
  return new FemtoError('QUOTA_EXCEEDED', 'The credential’s quota is used up; ask the operator for a new credential.');
}
