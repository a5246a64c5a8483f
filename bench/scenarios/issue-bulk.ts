import { nodeFlags } from '../../src/apps/node-flags.js';
import { CERTIFICATE_ROW, type Composite, LEDGER_ROW, microseconds, startComposite } from '../measure/composite.js';
import { startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { BulkRound } from '../servers/bulk-issuer.js';
import type { DurableReady } from '../servers/durable-world.js';

/**
 * Certificates through issueMany, from request to recorded certificate, against two cores that do nothing but the steps
 * which no CA can leave out: key and proof, signature, hash and own check, one certificate row, one ledger row.
 */
export const scenario: Scenario = { name: 'issue-bulk', unit: 'certificates/s', limit: 'mandatory-steps', run };

const CORES = 2;
const FIRST_STOCK = 1_024;
/** More than a round should use, so that it ends by time and not for want of requests. */
const STOCK_MARGIN = 1.5;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const product = startPinned(
    new URL('../servers/bulk-issuer.ts', import.meta.url),
    WHOLE_MACHINE,
    [],
    nodeFlags('enrol-server'),
  );
  let composite: Composite | undefined;
  try {
    const { databaseUrl, token, keyLabel } = await product.next<DurableReady>();
    const steps = await startComposite(
      [
        { name: 'request', file: 'check-request.ts' },
        { name: 'signature', file: 'raw-sign.ts', args: [JSON.stringify({ ...token, keyLabel })] },
        { name: 'own checks', file: 'own-checks.ts' },
        { name: 'certificate row', file: 'copy-rows.ts', args: [databaseUrl, ...CERTIFICATE_ROW] },
        { name: 'ledger row', file: 'copy-rows.ts', args: [databaseUrl, ...LEDGER_ROW] },
      ],
      WHOLE_MACHINE,
      CORES,
    );
    composite = steps;

    let stock = 0;
    let perSecond = FIRST_STOCK / seconds;
    const ofProduct = async (): Promise<Round> => {
      const wanted = Math.ceil(perSecond * seconds * STOCK_MARGIN);
      if (wanted > stock) {
        product.send({ prepare: wanted - stock });
        await product.next();
      }
      product.send({ seconds });
      const round = await product.next<BulkRound>();
      stock = round.left;
      perSecond = round.perSecond;
      say(microseconds('product', round.cpu));
      return round;
    };
    const ofLimit = async (): Promise<Round> => {
      const round = await steps.round(seconds);
      say(microseconds('limit', round.cpu));
      return round;
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all([product.end(), composite?.end()]);
  }
}
