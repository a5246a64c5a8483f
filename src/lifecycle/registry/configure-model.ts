import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Actor } from '../model/index.js';
import type { MakerStore } from './maker-store.js';
import { type ListedModel, plainModel, type Tolerance, type UnitModel } from './model.js';
import type { ModelStore } from './model-store.js';
import { checkName, HOST_LABEL, MODEL_NAME } from './names.js';

export interface ModelDeps {
  readonly transactor: Transactor;
  readonly makers: MakerStore;
  readonly models: ModelStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

/** What is left out stays as it is. */
export interface ModelChange {
  readonly makerName: string;
  readonly model: string;
  /** Null takes the label away. */
  readonly label?: string | null;
  readonly tolerate?: readonly Tolerance[];
  /** Wins over `tolerate` where both name the same. */
  readonly noTolerate?: readonly Tolerance[];
  readonly macAllowed?: boolean;
  readonly actor: Actor;
}

/** How makers' models are treated; each change is one transaction and a ledger entry `model.changed`. */
export interface ModelOffice {
  /** @throws FemtoError NOT_FOUND (maker); BAD_REQUEST (label, model); STATE_CONFLICT (another model has the label) */
  set(change: ModelChange): Promise<UnitModel>;
  list(): Promise<ListedModel[]>;
}

export function makeModelOffice(deps: ModelDeps): ModelOffice {
  return {
    set: (change) => setModel(deps, change),
    list: () => deps.models.models(deps.transactor.read),
  };
}

/** `/.well-known/est/<operation>` has no label: a label must not read as an operation (RFC 7030 section 3.2.2). */
const EST_OPERATIONS: ReadonlySet<string> = new Set([
  'cacerts',
  'simpleenroll',
  'simplereenroll',
  'fullcmc',
  'serverkeygen',
  'csrattrs',
]);

async function setModel(deps: ModelDeps, change: ModelChange): Promise<UnitModel> {
  const name = checkName(change.model, 'model', MODEL_NAME);
  const { label } = change;
  if (label !== undefined && label !== null) checkLabel(label);
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const maker = await deps.makers.maker(tx, { name: change.makerName });
    if (maker === null) throw new FemtoError('NOT_FOUND', 'There is no such maker; list the makers first.');
    const key = { makerId: maker.id, model: name };
    const before = (await deps.models.model(tx, key, 'update')) ?? plainModel(key);
    const after: UnitModel = {
      ...key,
      label: label === undefined ? before.label : label,
      tolerances: changed(before.tolerances, change),
      macAllowed: change.macAllowed ?? before.macAllowed,
    };
    if (shown(before) === shown(after)) return before;
    if (!(await deps.models.writeModel(tx, after, { actor: change.actor, at }))) {
      throw new FemtoError('STATE_CONFLICT', `Another model has the label ${after.label}; choose another one.`);
    }
    await deps.ledger.append(tx, [
      {
        kind: 'model.changed',
        subject: `maker:${maker.name}`,
        at,
        body: { ...facts(after), makerId: maker.id, model: name, before: facts(before), actor: change.actor },
      },
    ]);
    return after;
  });
}

function checkLabel(label: string): void {
  checkName(label, 'label', HOST_LABEL);
  if (EST_OPERATIONS.has(label)) {
    throw new FemtoError('BAD_REQUEST', `${label} is an EST operation; choose a label that is none.`);
  }
}

function changed(
  before: ReadonlySet<Tolerance>,
  { tolerate = [], noTolerate = [] }: ModelChange,
): ReadonlySet<Tolerance> {
  const dropped = new Set(noTolerate);
  return new Set([...before, ...tolerate].filter((tolerance) => !dropped.has(tolerance)));
}

function facts({ label, tolerances, macAllowed }: UnitModel): Record<string, unknown> {
  return { label, tolerances: [...tolerances].sort(), macAllowed };
}

function shown(model: UnitModel): string {
  return JSON.stringify(facts(model));
}
