import type { Command } from 'commander';
import { CAMPAIGN_UNITS_MAX, type CampaignPreview, WAVE_UNITS_MAX } from '../../lifecycle/renewal/index.js';
import { UNITS_ALONE_MAX } from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import { freshness, requestHash } from '../people/approvals.js';
import { CAMPAIGN_KIND, type CampaignSelect } from '../people/campaign-act.js';
import { callAndPrint, clientOf, globalsOf, withExamples } from './command-context.js';
import { durationSeconds } from './duration.js';
import { note, print } from './output.js';
import { readSerialFile } from './serial-file.js';
import { signAs } from './sign-as.js';

interface StartOptions {
  readonly batch?: string;
  readonly maker?: string;
  readonly model?: string;
  readonly firmware?: string;
  readonly ca?: string;
  readonly keyAlgorithm?: string;
  readonly lineages?: string;
  readonly file?: string;
  readonly waveSize: string;
  readonly wait: string;
  readonly window: string;
  readonly maxFailures: string;
  readonly reason: string;
  readonly confirm?: string;
  readonly ask?: boolean;
}

type ShownPreview = CampaignPreview & { readonly confirm?: string };

/** campaign: units renew with new keys wave by wave, and it stops when too many fail. */
export function addCampaignCommands(program: Command): void {
  const campaign = program
    .command('campaign')
    .description('re-keys many units in waves; stops by itself when too many fail');
  addStart(campaign);
  withExamples(
    campaign
      .command('list')
      .description('campaigns and how far they are, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/campaigns' })),
    'campaign list',
    'campaign list -o json',
  );
  withExamples(
    campaign
      .command('show <id>')
      .description('one campaign, wave by wave')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/campaigns/${encodeURIComponent(id)}` }),
      ),
    'campaign show 3',
  );
  withExamples(
    campaign
      .command('execute <id>')
      .description('starts a campaign that a second person approved')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/campaigns/${encodeURIComponent(id)}/execute`, body: {} }),
      ),
    'campaign execute 3',
  );
  addChange(campaign, 'pause', 'opens no further wave until it is resumed; the open one goes on', 'help desk is full');
  addChange(campaign, 'resume', 'goes on with one that was paused, or that stopped by itself', 'firmware was fixed');
  addChange(campaign, 'stop', 'ends a campaign for good; units that were told renew all the same', 'wrong batch');
}

function addChange(campaign: Command, verb: 'pause' | 'resume' | 'stop', description: string, why: string): void {
  withExamples(
    campaign
      .command(`${verb} <id>`)
      .description(description)
      .requiredOption('--reason <text>', 'why; goes to the ledger')
      .action((id: string, { reason }: { reason: string }, command: Command) => {
        const path = `/campaigns/${encodeURIComponent(id)}/${verb}`;
        return callAndPrint(command, { method: 'POST', path, body: { reason } });
      }),
    `campaign ${verb} 3 --reason "${why}"`,
  );
}

function addStart(campaign: Command): void {
  const command = campaign
    .command('start')
    .description('advises units to renew now with a new key, wave by wave')
    .option('--batch <name>', 'all units of a batch')
    .option('--maker <name>', 'with --batch, where two makers use the name')
    .option('--model <name>', 'all units of a model')
    .option('--firmware <sha256>', 'with --model: only batches that were built with this firmware')
    .option('--ca <label>', 'units whose certificate in use is of this CA')
    .option('--key-algorithm <curve>', 'units whose key is P-256, or P-384')
    .option('--lineages <ids>', 'lineages, by number, with commas')
    .option('--file <path>', 'units by serial number: one a line, CSV or NDJSON')
    .option('--wave-size <units>', `units of one wave, at most ${WAVE_UNITS_MAX}`, '500')
    .option('--window <duration>', 'what a wave has to renew in; its units spread over it', '12h')
    .option('--wait <duration>', 'between the end of a wave and the next', '1h')
    .option('--max-failures <percent>', 'stop when more of a wave did not renew in its window', '2')
    .requiredOption('--reason <text>', 'why; goes to the ledger')
    .option('--confirm <phrase>', 'beyond 100 units: the phrase that the preview shows, typed')
    .option('--ask', 'put it before a second person')
    .action((options: StartOptions, self: Command) => run(options, self));
  withExamples(
    command,
    'campaign start --batch B-2411 --reason "weak random numbers" --dry-run',
    'campaign start --ca device-ca-1 --wave-size 2000 --window 8h --max-failures 1 --reason "new CA" --ask --confirm "re-key 4210 units"',
  );
}

/** Look, say what it would do, sign exactly that list and plan, send. `--dry-run` ends after the look. */
async function run(options: StartOptions, command: Command): Promise<void> {
  const globals = globalsOf(command);
  const client = clientOf(globals);
  const select = selectOf(options);
  const plan = {
    size: Number(options.waveSize),
    waitSeconds: durationSeconds(options.wait, '--wait'),
    windowSeconds: durationSeconds(options.window, '--window'),
    failuresPercentMax: Number(options.maxFailures.replace(/%$/, '')),
  };
  const units = options.file === undefined ? undefined : await readSerialFile(options.file, CAMPAIGN_UNITS_MAX);
  const listed = units === undefined ? {} : { units };
  const preview = (await client.post('/campaigns/preview', { select, ...listed })) as ShownPreview;
  if (globals.dryRun) return print({ ...preview, waves: Math.ceil(preview.units / plan.size) }, globals.output);
  checkPreview(preview, options);

  const list = { count: preview.units, sha256: preview.listSha256 };
  const secondPerson = options.ask === true;
  const { reason } = options;
  const fresh = freshness(new Date());
  const request = { select, plan, reason, secondPerson, list };
  const hash = requestHash({ kind: CAMPAIGN_KIND, request, selectionCount: list.count, ...fresh });
  const campaign = (await client.post('/campaigns', {
    select,
    ...listed,
    plan,
    reason,
    listSha256: list.sha256,
    count: list.count,
    secondPerson,
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
    ...fresh,
    signature: signAs(globals, hash, 'requester'),
  })) as { id: number; state: string; approval: number | null };
  if (campaign.state === 'waiting') {
    note(`Campaign ${campaign.id} waits for a second person:`);
    note(`  femtopki approval approve ${campaign.approval} --as <approver>`);
    note(`  femtopki campaign execute ${campaign.id}`);
  }
  print(campaign, globals.output);
}

function checkPreview(preview: ShownPreview, options: StartOptions): void {
  note(`${preview.renewable} of ${preview.units} units would be told to renew; the others have nothing to re-key`);
  if (preview.units > UNITS_ALONE_MAX && options.confirm !== preview.confirm) {
    throw new FemtoError(
      'BAD_REQUEST',
      `This is about ${preview.units} units: repeat with --confirm "${preview.confirm}".`,
    );
  }
  if (preview.needsApproval && options.ask !== true) {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      `You re-keyed ${preview.usedToday} units in the last 24 h, and ${UNITS_ALONE_MAX} is what one person may alone: repeat with --ask, then let somebody else approve it.`,
    );
  }
}

function selectOf(options: StartOptions): CampaignSelect {
  const { batch, maker, model, firmware, ca, keyAlgorithm, lineages, file } = options;
  const selections: CampaignSelect[] = [
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
    ...(ca === undefined ? [] : [{ by: 'ca' as const, ca }]),
    ...(keyAlgorithm === undefined ? [] : [{ by: 'key-algorithm' as const, algorithm: curveOf(keyAlgorithm) }]),
    ...(lineages === undefined ? [] : [{ by: 'lineages' as const, lineageIds: lineages.split(',').map(Number) }]),
    ...(file === undefined ? [] : [{ by: 'serial-numbers' as const }]),
  ];
  const [select, second] = selections;
  if (select !== undefined && second === undefined && (firmware === undefined || model !== undefined)) return select;
  throw new FemtoError(
    'BAD_REQUEST',
    'Say in one way what it is about: --batch, --model (with --firmware), --ca, --key-algorithm, --lineages or --file.',
  );
}

function curveOf(name: string): 'P-256' | 'P-384' {
  if (name === 'P-256' || name === 'P-384') return name;
  throw new FemtoError('BAD_REQUEST', 'A key is P-256 or P-384.');
}
