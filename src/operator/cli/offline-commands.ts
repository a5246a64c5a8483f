import { createInterface } from 'node:readline/promises';
import { Presets, SingleBar } from 'cli-progress';
import { Argument, type Command, Option } from 'commander';
import { FemtoError } from '../../platform/errors.js';
import { LINK_ENDS, type LinkEnd } from '../../platform/hsm/link-identity.js';
import { addCaRollover } from './ca-commands.js';
import { globalsOf, withExamples } from './command-context.js';
import { EXIT } from './exit-codes.js';
import { type DoctorCheck, examine } from './finding.js';
import { note, print } from './output.js';

/** What the commands that need no server do; `apps/` binds them to tokens, files and the database. */
export interface OfflineTools {
  caInit(
    options: { data: string; config: string | undefined; ceremony: string },
    onStep: (line: string) => void,
  ): { transcriptPath: string; hierarchyPath: string };
  /** One row an entry that was made. */
  caExtend(
    options: { data: string; config: string | undefined; ceremony: string },
    onStep: (line: string) => void,
  ): Record<string, unknown>[];
  /** One row a root. */
  caSignCrls(
    options: {
      data: string;
      config: string | undefined;
      ceremony: string;
      revoke: { label: string; reason: 'cACompromise' | 'superseded' | 'cessationOfOperation' } | undefined;
    },
    onStep: (line: string) => void,
  ): Record<string, unknown>[];
  /** Every label that is barred now. */
  caBar(data: string, label: string): string[];
  caShow(data: string): Record<string, unknown>[];
  configPrint(options: { data: string; config: string | undefined }): string;
  doctorChecks(data: string): DoctorCheck[];
  auditVerify(source: {
    data: string;
    export: string | undefined;
    anchors: string | undefined;
    certificates: readonly string[];
  }): Promise<{ exitCode: number; table: string; report: unknown }>;
  /** @param signerStates  state directories of signers on other hosts, or copies of them */
  checkLedger(
    data: string,
    signerStates: readonly string[],
  ): Promise<{ exitCode: number; table: string; report: unknown }>;
  export(data: string, out: string): Promise<Record<string, unknown>>;
  backup(
    data: string,
    out: string,
    onTable: (name: string, done: number, of: number) => void,
  ): Promise<Record<string, unknown>>;
  reset(data: string): void;
  /** Makes the key of a line between a signer and a server on another host, where there is none. */
  signerLinkKey(data: string, end: LinkEnd): { end: LinkEnd; file: string; made: boolean; spkiSha256: string };
}

export function addOfflineCommands(program: Command, tools: OfflineTools): void {
  addCa(program, tools);
  addDoctor(program, tools);
  addAudit(program, tools);
  addCare(program, tools);
  addSigner(program, tools);
}

function addSigner(program: Command, tools: OfflineTools): void {
  withExamples(
    program
      .command('signer')
      .description('signers on hosts of their own')
      .command('link-key')
      .description('makes the key of one end of the line to a signer, and prints what the other end must be told')
      .addArgument(new Argument('<end>', 'the signer, or the role of the process that calls it').choices(LINK_ENDS))
      .action((end: LinkEnd, _options, command: Command) => {
        const { data, output } = globalsOf(command);
        print(tools.signerLinkKey(data, end), output);
        note(
          end === 'signer'
            ? 'Tell the other hosts spkiSha256: signer.places in femtopki.yaml.'
            : `Tell the signer's host spkiSha256, with the role ${end}: listen.clients in signer.yaml.`,
        );
      }),
    'signer link-key signer',
    'signer link-key enrol --data /var/lib/femtopki -o json',
  );
}

function addCa(program: Command, tools: OfflineTools): void {
  const ca = program.command('ca').description('our CAs: key ceremonies, and what comes into use and goes out of it');
  addCaRollover(ca);
  withExamples(
    ca
      .command('init')
      .description('holds the key ceremony that a reviewed file describes; once')
      .requiredOption('--ceremony <file>', 'reviewed ceremony file')
      .option('--config <file>', 'femtopki.yaml')
      .action((options: { ceremony: string; config?: string }, command: Command) => {
        const { data, output } = globalsOf(command);
        print(tools.caInit({ data, config: options.config, ceremony: options.ceremony }, note), output);
      }),
    'ca init --ceremony hsm-config/ceremony/demo.yaml',
    'ca init --ceremony ceremony-2026.yaml --config /etc/femtopki/femtopki.yaml --data /var/lib/femtopki',
  );
  withExamples(
    ca
      .command('extend')
      .description(
        'a later ceremony: new spare Device CAs, and where the file says so a new Access Root signed by the old',
      )
      .requiredOption('--ceremony <file>', 'reviewed file of this ceremony')
      .option('--config <file>', 'femtopki.yaml')
      .action((options: { ceremony: string; config?: string }, command: Command) => {
        const { data, output } = globalsOf(command);
        print(tools.caExtend({ data, config: options.config, ceremony: options.ceremony }, note), output);
        note(
          'The signer and the worker take it up by themselves. Bring ca/ to every other host; then docs/rollover.md.',
        );
      }),
    'ca extend --ceremony hsm-config/ceremony/next-access-root.yaml',
    'ca extend --ceremony ceremony-2031.yaml --config /etc/femtopki/femtopki.yaml --data /var/lib/femtopki',
  );
  withExamples(
    ca
      .command('sign-crls')
      .description('a later ceremony: each root signs its next CRL, before the old one runs out')
      .requiredOption('--ceremony <file>', 'the reviewed ceremony file, with the people who are there now')
      .option('--config <file>', 'femtopki.yaml')
      .option('--revoke <ca>', 'also take back this CA, for good: everything under it stops being trusted')
      .addOption(new Option('--reason <reason>', 'why').choices(CA_REASONS).default('cACompromise'))
      .option('--confirm <ca>', 'the label of that CA once more, for scripts')
      .action(async (options: SignCrlsOptions, command: Command) => {
        const { data, output } = globalsOf(command);
        const revoke = options.revoke === undefined ? undefined : { label: options.revoke, reason: options.reason };
        if (revoke) await confirmRevocation(revoke.label, options.confirm);
        print(tools.caSignCrls({ data, config: options.config, ceremony: options.ceremony, revoke }, note), output);
        note('Bring ca/*.crl to the ca/ directory of every status-server; it serves them within seconds.');
      }),
    'ca sign-crls --ceremony hsm-config/ceremony/demo.yaml',
    'ca sign-crls --ceremony ceremony-2026.yaml --revoke device-ca-2 --reason cACompromise',
  );
  withExamples(
    ca
      .command('bar <label>')
      .description('on the signer’s host, after ca retire: the CA’s key signs no certificate any more, for good')
      .option('--confirm <label>', 'the label once more, for scripts')
      .action(async (label: string, options: { confirm?: string }, command: Command) => {
        const { data, output } = globalsOf(command);
        const word =
          options.confirm ?? (await ask(`The key of ${label} never signs a certificate again. Type its label: `));
        if (word !== label)
          throw new FemtoError('APPROVAL_REQUIRED', 'Nothing was barred; type the label of the CA exactly.');
        print(
          tools.caBar(data, label).map((barred) => ({ barred })),
          output,
        );
      }),
    'ca bar device-ca-1',
    'ca bar device-ca-1 --confirm device-ca-1 --data /var/lib/femtopki',
  );
  withExamples(
    ca
      .command('show')
      .description('the hierarchy that the ceremony wrote')
      .action((_options, command: Command) => {
        const { data, output } = globalsOf(command);
        print(tools.caShow(data), output);
      }),
    'ca show',
    'ca show -o json --data /var/lib/femtopki',
  );
  withExamples(
    program
      .command('config')
      .description('configuration')
      .command('print')
      .description('the effective configuration, secrets blotted out')
      .option('--config <file>', 'femtopki.yaml')
      .action((options: { config?: string }, command: Command) => {
        process.stdout.write(tools.configPrint({ data: globalsOf(command).data, config: options.config }));
      }),
    'config print',
    'config print --config /etc/femtopki/femtopki.yaml',
  );
}

const CA_REASONS = ['cACompromise', 'superseded', 'cessationOfOperation'] as const;

interface SignCrlsOptions {
  readonly ceremony: string;
  readonly config?: string;
  readonly revoke?: string;
  readonly reason: (typeof CA_REASONS)[number];
  readonly confirm?: string;
}

async function confirmRevocation(label: string, typed: string | undefined): Promise<void> {
  const word =
    typed ?? (await ask(`Every certificate under ${label} ends, and nothing brings it back. Type its label: `));
  if (word !== label)
    throw new FemtoError('APPROVAL_REQUIRED', 'Nothing was signed; type the label of the CA exactly.');
}

function addDoctor(program: Command, tools: OfflineTools): void {
  withExamples(
    program
      .command('doctor')
      .description('finds what is wrong and says the next step; works with the servers down')
      .option('--list', 'only name the checks')
      .option('--only <check...>', 'run these checks alone')
      .action(async (options: { list?: boolean; only?: string[] }, command: Command) => {
        const { data, output } = globalsOf(command);
        const checks = tools.doctorChecks(data).filter(({ name }) => options.only?.includes(name) ?? true);
        if (options.list === true)
          return print(
            checks.map(({ name }) => ({ check: name })),
            output,
          );
        const findings = await examine(checks);
        print(findings, output);
        if (findings.some(({ severity }) => severity === 'critical')) process.exitCode = EXIT.critical;
        else if (findings.some(({ severity }) => severity === 'warning')) process.exitCode = EXIT.warnings;
      }),
    'doctor',
    'doctor --only token crl -o json',
  );
}

function addAudit(program: Command, tools: OfflineTools): void {
  withExamples(
    program
      .command('audit')
      .description('the ledger as an auditor sees it')
      .command('verify')
      .description('verifies chain, tree, heads and anchors; of this installation or of an export, on any machine')
      .option('--export <dir>', 'directory that femtopki export wrote')
      .option('--anchors <dir>', 'anchors kept outside this host')
      .option('--certificate <file...>', 'audit certificates of your own, PEM', [])
      .action(async (options: { export?: string; anchors?: string; certificate: string[] }, command: Command) => {
        const { data, output } = globalsOf(command);
        const verdict = await tools.auditVerify({
          data,
          export: options.export,
          anchors: options.anchors,
          certificates: options.certificate,
        });
        show(verdict, output);
      }),
    'audit verify',
    'audit verify --export ./export --anchors /mnt/auditor/anchors --certificate audit.pem',
  );
  withExamples(
    program
      .command('check-ledger')
      .description('checks every invariant of records, CRLs, journals and ledger')
      .option('--signer-state <dir...>', 'state directory of a signer on another host, or a copy of it', [])
      .action(async ({ signerState }: { signerState: string[] }, command: Command) => {
        const { data, output } = globalsOf(command);
        show(await tools.checkLedger(data, signerState), output);
      }),
    'check-ledger',
    'check-ledger --signer-state /mnt/signer2/state /mnt/signer3/state',
    'check-ledger -o json --data /var/lib/femtopki',
  );
}

function show(verdict: { exitCode: number; table: string; report: unknown }, output: 'table' | 'json' | 'yaml'): void {
  if (output === 'table') process.stdout.write(`${verdict.table}\n`);
  else print(verdict.report, output);
  process.exitCode = verdict.exitCode;
}

function addCare(program: Command, tools: OfflineTools): void {
  withExamples(
    program
      .command('export')
      .description('writes the ledger with heads, anchors and audit certificates into an empty directory')
      .requiredOption('--out <dir>')
      .action(async (options: { out: string }, command: Command) => {
        const { data, output } = globalsOf(command);
        print(await tools.export(data, options.out), output);
      }),
    'export --out ./export',
    'export --out /mnt/auditor/2026-11 --data /var/lib/femtopki',
  );
  withExamples(
    program
      .command('backup')
      .description('writes every table and the public half of the CAs into an empty directory; no key, no PIN')
      .requiredOption('--out <dir>')
      .action(async (options: { out: string }, command: Command) => {
        const { data, output } = globalsOf(command);
        const bar = new SingleBar(
          { format: '{bar} {value}/{total} {table}', stream: process.stderr, noTTYOutput: true, notTTYSchedule: 3_000 },
          Presets.shades_classic,
        );
        bar.start(1, 0, { table: '' });
        const onTable = (table: string, done: number, of: number): void => {
          bar.setTotal(of);
          bar.update(done, { table });
        };
        const written = await tools.backup(data, options.out, onTable).finally(() => bar.stop());
        print(written, output);
      }),
    'backup --out ./backup-2026-11-24',
    'backup --out /mnt/backup/now -o json',
  );
  withExamples(
    program
      .command('reset')
      .description('removes a demo installation after a typed word')
      .option('--yes-remove <word>', 'the word, for scripts')
      .action(async (options: { yesRemove?: string }, command: Command) => {
        const { data } = globalsOf(command);
        const word =
          options.yesRemove ?? (await ask(`This removes ${data} with all its keys. Type "remove" to go on: `));
        if (word !== 'remove') throw new FemtoError('APPROVAL_REQUIRED', 'Nothing was removed; type the word exactly.');
        tools.reset(data);
        note(`${data} is gone; npm start makes a new one.`);
      }),
    'reset',
    'reset --yes-remove remove --data ./data',
  );
}

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(question)).trim();
  } finally {
    lines.close();
  }
}
