import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { readSpki } from '../../x509/spki.js';
import type { Actor } from '../model/index.js';
import type { Maker, MakerStore } from './maker-store.js';
import { checkName } from './names.js';

export interface MakerDeps {
  readonly transactor: Transactor;
  readonly makers: MakerStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

const EUI_PREFIX = /^[0-9a-f]{4,16}$/;
const PREFIXES_MAX = 64;

/**
 * Registers a manufacturer.
 *
 * @param request.manifestKeySpki  DER; P-256, the key that signs its manifests (ES256)
 * @param request.euiPrefixes      1 to 64 hex prefixes of 4 to 16 digits, any case
 * @throws FemtoError BAD_REQUEST; KEY_WEAK; STATE_CONFLICT when the name is taken or a range overlaps another maker's
 */
export async function registerMaker(
  deps: MakerDeps,
  request: { name: string; manifestKeySpki: Buffer; euiPrefixes: readonly string[]; actor: Actor },
): Promise<Maker> {
  const name = checkName(request.name, 'maker name');
  const key = readSpki(request.manifestKeySpki);
  if (key.algorithm !== 'P-256') throw new FemtoError('KEY_WEAK', 'Manifests are signed with ES256: give a P-256 key.');
  const euiPrefixes = [...new Set(request.euiPrefixes.map((prefix) => prefix.toLowerCase()))].sort();
  if (euiPrefixes.length === 0 || euiPrefixes.length > PREFIXES_MAX || !euiPrefixes.every((p) => EUI_PREFIX.test(p))) {
    throw new FemtoError('BAD_REQUEST', 'EUI prefixes are 1 to 64 strings of 4 to 16 hexadecimal digits.');
  }
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    await deps.makers.lockMakers(tx);
    for (const other of await deps.makers.makers(tx)) {
      const overlap = euiPrefixes.find((prefix) => other.euiPrefixes.some((theirs) => overlaps(prefix, theirs)));
      if (overlap === undefined) continue;
      throw new FemtoError('STATE_CONFLICT', `EUI prefix ${overlap} overlaps a range of maker ${other.name}.`, {
        facts: { prefix: overlap, maker: other.name },
      });
    }
    const maker = await deps.makers.addMaker(tx, { name, manifestKeySpki: key.spkiDer, euiPrefixes, createdAt: at });
    if (maker === null)
      throw new FemtoError('STATE_CONFLICT', `There is a maker ${name} already; choose another name.`);
    await deps.ledger.append(tx, [
      {
        kind: 'maker.registered',
        subject: `maker:${name}`,
        at,
        body: { makerId: maker.id, manifestKeyHash: key.spkiHash.toString('hex'), euiPrefixes, actor: request.actor },
      },
    ]);
    return maker;
  });
}

/**
 * Frozen: nothing of this maker is taken, neither manifests nor enrolments, until it is active again. Its units in the
 * field are not touched.
 *
 * @throws FemtoError NOT_FOUND
 */
export async function setMakerState(
  deps: MakerDeps,
  { name, state, actor, reason }: { name: string; state: Maker['state']; actor: Actor; reason: string },
): Promise<Maker> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const maker = await deps.makers.maker(tx, { name });
    if (maker === null) throw new FemtoError('NOT_FOUND', 'There is no such maker; list the makers first.');
    if (maker.state === state) return maker;
    await deps.makers.setMakerState(tx, maker.id, state);
    await deps.ledger.append(tx, [
      {
        kind: 'maker.state-changed',
        subject: `maker:${name}`,
        at,
        body: { makerId: maker.id, from: maker.state, to: state, actor, reason: reason.slice(0, 500) },
      },
    ]);
    return { ...maker, state };
  });
}

function overlaps(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}
