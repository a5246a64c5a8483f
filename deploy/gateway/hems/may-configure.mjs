#!/usr/bin/env node
/**
 * What a HeMS (or a HeNB gateway, at registration) asks before it serves a unit. An example to build on; it runs as it stands.
 *
 * usage: may-configure.mjs --config FILE --certificate unit.pem --address OUTER [--cell ID]
 *
 * The certificate and the outer address are those of the tunnel that carries the unit, as its gateway knows them: what the unit
 * says of itself proves nothing. --config is a connector.json; a HeMS is added by `femtopki gateway add`, with a key of its own.
 * Prints the verdict and its reasons. Ends with 0 for a permit, 1 for anything the server said, 2 when nobody answered.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { makeApi } from '../connector/api.mjs';
import { readConfig } from '../connector/config.mjs';
import { certificatesOf, makeTrust } from '../connector/trust.mjs';

const ANSWER_MS_MAX = 3_000;

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: '/etc/femtopki/connector.json' },
    certificate: { type: 'string' },
    address: { type: 'string' },
    cell: { type: 'string' },
  },
});
try {
  const config = readConfig(values.config);
  const [certificate] = certificatesOf(readFileSync(String(values.certificate), 'utf8'));
  const identity = /DNS:([^,]+)/.exec(certificate?.subjectAltName ?? '')?.[1];
  if (certificate === undefined || identity === undefined || values.address === undefined) {
    throw new Error('--certificate must be a unit’s certificate, and --address its outer address');
  }
  const rootPem = readFileSync(config.api.servicesRoot, 'utf8');
  const trust = makeTrust({ rootPem, intermediatesPem: readFileSync(config.api.intermediates, 'utf8') });
  const api = makeApi({ config, trust });
  const { verdict, reasons } = await api
    .authorise({
      // With a cell it is a registration: the cell must be the unit's own.
      ...(values.cell === undefined ? { stage: 'config' } : { stage: 'registration', cell: values.cell }),
      certificateDer: certificate.raw,
      identity,
      address: values.address,
      // Only who verified IKE AUTH may say so.
      keyProved: false,
      timeoutMs: ANSWER_MS_MAX,
    })
    .finally(() => api.close());
  process.stdout.write(`${[verdict, ...reasons].join(' ')}\n`);
  process.exitCode = verdict === 'permit' ? 0 : 1;
} catch (error) {
  process.stderr.write(`${/** @type {Error} */ (error).message}\n`);
  process.exitCode = 2;
}
