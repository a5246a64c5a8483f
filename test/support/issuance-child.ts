/**
 * A second process that issues, for races and faults: `fork` it with the database URL and the signer's run directory,
 * send it jobs over IPC. It is what enrol-server wires, without the servers.
 */
import { openPool } from '../../src/platform/db/pool.pg.js';
import { FemtoError } from '../../src/platform/errors.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import { connectSigner } from '../../src/platform/hsm/signer-client.js';
import type { Signer } from '../../src/platform/signer.js';
import { readSpki } from '../../src/x509/spki.js';
import type { ChildJob, ChildOutcome, ChildSettings, WireRequest } from './issuance-process.js';
import { openIssuance } from './issuance-rooms.js';

const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings;
const pool = openPool(settings.databaseUrl, { applicationName: 'issuance-child', connectionsMax: 5 });
const signer = bent(connectSigner({ runDir: settings.runDir, role: 'enrol' }), settings.bendSignature === true);
const { issuance } = openIssuance(pool, signer, {
  ...(settings.recordTriesMs === undefined ? {} : { recordTriesMs: settings.recordTriesMs }),
});
armFailpoints(settings.failpoints ?? '');

process.on('message', (job: ChildJob) => {
  void run(job).then((outcomes) => process.send?.({ id: job.id, outcomes }));
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0, outcomes: [] });

async function run(job: ChildJob): Promise<ChildOutcome[]> {
  const outcomes = await issuance.issueMany(job.requests.map(requestOf));
  return outcomes.map((outcome) =>
    outcome.ok
      ? { code: 'ok', attemptId: outcome.certificate.attemptId, derHex: outcome.certificate.der.toString('hex') }
      : { code: outcome.error instanceof FemtoError ? outcome.error.code : 'INTERNAL' },
  );
}

function requestOf({ unit, spkiHex, successor, purpose }: WireRequest) {
  return {
    purpose: purpose ?? 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: readSpki(Buffer.from(spkiHex, 'hex')),
    lifeSeconds: 7 * 86_400,
    revocationEpoch: unit.revocationEpoch,
    successor,
    actor: `unit:${unit.serialNumber}`,
  };
}

/** A token whose answers have one bit wrong (fault F12). */
function bent(honest: Signer, isBent: boolean): Signer {
  if (!isBent) return honest;
  return {
    close: () => honest.close(),
    sign: async (requests) =>
      (await honest.sign(requests)).map((result) => {
        if (!result.ok) return result;
        const signature = Buffer.from(result.signature);
        signature[signature.length - 1] = (signature.at(-1) ?? 0) ^ 1;
        return { ok: true, signature };
      }),
  };
}
