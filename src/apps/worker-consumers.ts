import type { LedgerConsumer } from '../jobs/consume-ledger.js';
import { evidenceStore } from '../lifecycle/detection/evidence-store.pg.js';
import { type Fact, weighFacts } from '../lifecycle/detection/index.js';
import { caseStore } from '../lifecycle/incident/case-store.pg.js';
import { makeCaseDesk } from '../lifecycle/incident/index.js';
import type { NumberedEntry } from '../platform/ledger/entry-hash.js';
import type { Logger } from '../platform/log.js';
import type { Core } from './wire-core.js';

/** Who follows the ledger in the worker, each by a cursor of its own. Add a consumer here and it runs. */
export function ledgerConsumers(core: Core, log: Logger): readonly LedgerConsumer[] {
  return [detection(core, log)];
}

/** Detection follows the ledger from the beginning of the epoch; what it derived (evidence, cases) stays. */
function detection(core: Core, log: Logger): LedgerConsumer {
  const deps = {
    db: core.transactor,
    registry: core.registry,
    revocation: core.revocation,
    cases: makeCaseDesk({ store: caseStore, ledger: core.ledger }),
    evidence: evidenceStore,
    alarm: (what: string, facts: Record<string, unknown>) => log.error({ alarm: true, ...facts }, what),
  };
  return {
    name: 'detection',
    consume: async (tx, entries) => {
      await weighFacts(deps, tx, entries.map(asFact));
    },
    resync: async (_tx, { reason, to }) => {
      log.error({ alarm: true, reason, to }, 'detection lost its place in the ledger; run femtopki audit verify');
      return reason === 'unknown-epoch' ? { epoch: to.epoch, seq: 0 } : to;
    },
  };
}

function asFact({ epoch, seq, kind, subject, atMicros, body }: NumberedEntry): Fact {
  return { epoch, seq, kind, subject, at: new Date(atMicros / 1_000), body: JSON.parse(body) as Fact['body'] };
}
