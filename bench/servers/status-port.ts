/** The status port as status-server wires it, over a database that another process fills. argv: database URL, CRL directory. */
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import type { Signer } from '../../src/platform/signer.js';
import { openStatusPort } from '../../test/support/status-service.js';

export interface StatusPortReady {
  readonly port: number;
}

const [url = '', dir = ''] = process.argv.slice(2);
const pool = openPool(url, { applicationName: 'status-server' });
/** Nobody asks for OCSP here. */
const signer: Signer = {
  sign: async (requests) =>
    requests.map(() => ({ ok: false, code: 'HSM_UNAVAILABLE', message: 'There is no signer here.' })),
  close: async () => undefined,
};
const port = await openStatusPort({ db: { url }, transactor: transactorOf(pool), signer, allCas: [] }, { dir });
process.on('SIGTERM', () => {
  void port
    .close()
    .then(() => pool.end())
    .then(() => process.exit(0));
});
process.send?.({ port: port.port } satisfies StatusPortReady);
