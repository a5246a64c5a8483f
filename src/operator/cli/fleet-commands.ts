import type { Command } from 'commander';
import {
  FLEET_UNITS_MAX,
  type FleetAct,
  type FleetPreview,
  UNITS_ALONE_MAX,
} from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import { freshness, requestHash } from '../people/approvals.js';
import { FLEET_CODES, fleetKind, type UnitSelect } from '../people/fleet-act.js';
import type { ApiClient } from './api-client.js';
import { callAndPrint, clientOf, globalsOf, withExamples } from './command-context.js';
import { followOrder, type ShownOrder } from './follow-order.js';
import { note, print } from './output.js';
import { readSerialFile } from './serial-file.js';
import { signAs } from './sign-as.js';

interface FleetOptions {
  readonly unit?: string;
  readonly batch?: string;
  readonly maker?: string;
  readonly model?: string;
  readonly firmware?: string;
  readonly factoryCredential?: string;
  readonly file?: string;
  readonly reason: string;
  readonly evidence?: string;
  readonly code?: string;
  readonly confirm?: string;
  readonly ask?: boolean;
  readonly skipUnknown?: boolean;
  readonly wait: boolean;
}

type ShownPreview = FleetPreview & {
  readonly unknown?: { readonly count: number; readonly first: readonly string[] };
  readonly confirm?: string;
};

const DESCRIPTIONS: Readonly<Record<FleetAct, string>> = {
  revoke: 'revokes every certificate of many units for good; the units are suspended',
  hold: 'suspends many units and holds their certificates',
  release: 'ends the holds of many units; always two people',
};

/** fleet: many units at once, by what they have in common or by a file. */
export function addFleetCommands(program: Command): void {
  const fleet = program
    .command('fleet')
    .description('many units at once: looked at first, signed, carried out in parts');
  for (const act of ['revoke', 'hold', 'release'] as const) addAct(fleet, act);
  withExamples(
    fleet
      .command('list')
      .description('orders and how far they are, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/fleet-orders' })),
    'fleet list',
    'fleet list -o json',
  );
  withExamples(
    fleet
      .command('show <id>')
      .description('one order; with --units its list of serial numbers, which is what people sign')
      .option('--units', 'print the list alone')
      .action(async (id: string, options: { units?: boolean }, command: Command) => {
        const path = `/fleet-orders/${encodeURIComponent(id)}`;
        if (options.units !== true) return await callAndPrint(command, { method: 'GET', path });
        const units = (await clientOf(globalsOf(command)).get(`${path}/units`)) as string[];
        process.stdout.write(`${units.join('\n')}\n`);
      }),
    'fleet show 3',
    'fleet show 3 --units | sha256sum',
  );
  withExamples(
    fleet
      .command('execute <id>')
      .description('starts an order that a second person approved, or goes on with one that was interrupted')
      .option('--no-wait', 'return at once; fleet show tells how far it is')
      .action(async (id: string, options: { wait: boolean }, command: Command) => {
        const path = `/fleet-orders/${encodeURIComponent(id)}/execute`;
        const globals = globalsOf(command);
        if (globals.dryRun) return await callAndPrint(command, { method: 'POST', path, body: {} });
        const client = clientOf(globals);
        const order = (await client.post(path, {})) as ShownOrder;
        print(await followOrder(client, order, options), globals.output);
      }),
    'fleet execute 3',
    'fleet execute 3 --no-wait',
  );
}

function addAct(fleet: Command, act: FleetAct): void {
  const command = fleet
    .command(act)
    .description(DESCRIPTIONS[act])
    .option('--unit <serial>', 'one unit')
    .option('--batch <name>', 'all units of a batch')
    .option('--maker <name>', 'with --batch, where two makers use the name')
    .option('--model <name>', 'all units of a model')
    .option('--firmware <sha256>', 'with --model: only batches that were built with this firmware')
    .option('--factory-credential <name>', 'every unit that this credential enrolled')
    .option('--file <path>', 'units by serial number: one a line, CSV or NDJSON')
    .option('--skip-unknown', 'with --file: leave out serial numbers that nobody has')
    .requiredOption('--reason <text>', 'why; goes to history and ledger')
    .option('--evidence <document>', 'what was believed: a case, a report')
    .option('--confirm <phrase>', 'beyond 100 units: the phrase that the preview shows, typed')
    .option('--ask', 'put it before a second person')
    .option('--no-wait', 'return at once; fleet show tells how far it is');
  if (act === 'revoke') command.option('--code <reason>', FLEET_CODES.join(', '), 'unspecified');
  command.action((options: FleetOptions, self: Command) => run(act, options, self));
  const verb = `fleet ${act}`;
  withExamples(
    command,
    `${verb} --batch B-2411 --reason "recalled" --dry-run`,
    `${verb} --file stolen.csv --reason "truck stolen" --ask --confirm "${act} 4210 units"`,
  );
}

/** Look, say what it would do, sign exactly that list, send, and follow. `--dry-run` ends after the look. */
async function run(act: FleetAct, options: FleetOptions, command: Command): Promise<void> {
  const globals = globalsOf(command);
  const client = clientOf(globals);
  const select = selectOf(options);
  const units = options.file === undefined ? undefined : await readSerialFile(options.file, FLEET_UNITS_MAX);
  const listed = units === undefined ? {} : { units };
  const preview = (await client.post('/fleet-orders/preview', { act, select, ...listed })) as ShownPreview;
  if (globals.dryRun) return print(preview, globals.output);
  checkPreview(act, preview, options);

  const list = { count: preview.units, sha256: preview.listSha256 };
  const { reason, evidence } = options;
  const said = { reason, ...(evidence === undefined ? {} : { evidence }) };
  const code = options.code ?? 'unspecified';
  const secondPerson = options.ask === true;
  const fresh = freshness(new Date());
  const request = { select, code, ...said, secondPerson, list };
  const hash = requestHash({ kind: fleetKind(act), request, selectionCount: list.count, ...fresh });
  const order = (await client.post(`/fleet-orders/${act}`, {
    select,
    ...listed,
    ...said,
    ...(act === 'revoke' ? { code } : {}),
    secondPerson,
    listSha256: list.sha256,
    count: list.count,
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
    ...fresh,
    signature: signAs(globals, hash, 'requester'),
  })) as ShownOrder;
  print(await finish(client, order, options), globals.output);
}

async function finish(client: ApiClient, order: ShownOrder, options: FleetOptions): Promise<ShownOrder> {
  if (order.state !== 'waiting') return followOrder(client, order, options);
  note(`Order ${order.id} waits for a second person:`);
  note(`  femtopki approval approve ${order.approval} --as <approver>`);
  note(`  femtopki fleet execute ${order.id}`);
  return order;
}

function checkPreview(act: FleetAct, preview: ShownPreview, options: FleetOptions): void {
  const unknown = preview.unknown?.count ?? 0;
  if (unknown > 0 && options.skipUnknown !== true) {
    throw new FemtoError(
      'NOT_FOUND',
      `${unknown} serial numbers of the file belong to no unit (${preview.unknown?.first.join(', ')}); correct them, or leave them out with --skip-unknown.`,
    );
  }
  note(
    `${act}: ${preview.changing.units} of ${preview.units} units and ${preview.changing.certificates} certificates would change; ${preview.already} have nothing left to change`,
  );
  if (preview.units > UNITS_ALONE_MAX && options.confirm !== preview.confirm) {
    throw new FemtoError(
      'BAD_REQUEST',
      `This is about ${preview.units} units: repeat with --confirm "${preview.confirm}".`,
    );
  }
  if (preview.needsApproval && options.ask !== true) {
    const why =
      act === 'release'
        ? 'Trust is given back by two people, always'
        : `You restricted ${preview.usedToday} units in the last 24 h, and ${UNITS_ALONE_MAX} is what one person may alone`;
    throw new FemtoError('APPROVAL_REQUIRED', `${why}: repeat with --ask, then let somebody else approve it.`);
  }
}

function selectOf(options: FleetOptions): UnitSelect {
  const { unit, batch, maker, model, firmware, factoryCredential, file } = options;
  const selections: UnitSelect[] = [
    ...(unit === undefined ? [] : [{ by: 'unit' as const, unit: unit.toUpperCase() }]),
    ...(batch === undefined ? [] : [{ by: 'batch' as const, batch, ...(maker === undefined ? {} : { maker }) }]),
    ...(model === undefined
      ? []
      : [
          {
            by: 'model' as const,
            model,
            ...(firmware === undefined ? {} : { firmwareSha256: firmware.toLowerCase() }),
          },
        ]),
    ...(factoryCredential === undefined ? [] : [{ by: 'factory-credential' as const, credential: factoryCredential }]),
    ...(file === undefined ? [] : [{ by: 'serial-numbers' as const }]),
  ];
  const [select, second] = selections;
  if (select !== undefined && second === undefined && (firmware === undefined || model !== undefined)) return select;
  throw new FemtoError(
    'BAD_REQUEST',
    'Say in one way what it is about: --unit, --batch, --model (with --firmware), --factory-credential or --file.',
  );
}
