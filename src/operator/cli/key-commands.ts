import { existsSync, readFileSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { KEYS_AT_ONCE_MAX } from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import { keyBlockAct } from '../people/key-block-act.js';
import { EVIDENCE_BYTES_MAX, type ReportedKey, reportedKeys } from '../people/key-evidence.js';
import { callAndPrint, clientOf, globalsOf, withExamples } from './command-context.js';
import { note, print } from './output.js';
import { askSecondPerson } from './sign-as.js';

interface ActOptions {
  readonly reason: string;
  readonly code?: string;
  readonly approval?: number;
  readonly ask?: boolean;
}

/** cert, lineage, key: a few certificates by name, and keys that nobody may bring again. */
export function addKeyCommands(program: Command): void {
  const cert = program.command('cert').description('certificates');
  withExamples(
    cert
      .command('show <serial>')
      .description('a recorded certificate and its status')
      .action((serial: string, _options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/certificates/${encodeURIComponent(serial.toLowerCase())}` }),
      ),
    'cert show 010007a1f3c2d4e5f60718293a4b5c6d',
    'cert show 010007a1f3c2d4e5f60718293a4b5c6d -o json',
  );
  addActs(cert, {
    noun: 'certificate',
    argument: 'serial',
    example: '010007a1f3c2d4e5f60718293a4b5c6d',
    codes: 'unspecified, keyCompromise, superseded, cessationOfOperation',
    name: (serial) => ({
      path: `/certificates/${encodeURIComponent(serial.toLowerCase())}`,
      request: { serial: serial.toLowerCase() },
      select: { by: 'certificate', serial: serial.toLowerCase() },
    }),
  });
  addActs(program.command('lineage').description('all certificates of one lineage; see unit show for its number'), {
    noun: 'lineage',
    argument: 'id',
    example: '4711',
    codes: 'unspecified, keyCompromise, cessationOfOperation',
    name: (id) => ({
      path: `/lineages/${encodeURIComponent(id)}`,
      request: { lineageId: Number(id) },
      select: { by: 'lineage', lineageId: Number(id) },
    }),
  });
  const key = program.command('key').description('public keys');
  addBlock(key);
  addActs(key, {
    noun: 'key',
    argument: 'spki-sha256',
    example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    codes: null,
    name: (hex) => ({
      path: `/keys/${encodeURIComponent(hex.toLowerCase())}`,
      request: { spkiSha256: hex.toLowerCase() },
      select: { by: 'key', spkiSha256: hex.toLowerCase() },
    }),
  });
}

function addActs(
  parent: Command,
  of: {
    readonly noun: string;
    readonly argument: string;
    readonly example: string;
    /** Null: not revoked but blocked. */
    readonly codes: string | null;
    readonly name: (argument: string) => {
      path: string;
      request: Record<string, string | number>;
      select: Record<string, string | number>;
    };
  },
): void {
  const verbs = [
    ...(of.codes === null ? [] : [['revoke', 'revokes for good'] as const]),
    ['hold', 'puts on hold'] as const,
    ['release', 'ends a hold that was put on it by itself; two people'] as const,
  ];
  for (const [verb, description] of verbs) {
    const command = parent
      .command(`${verb} <${of.argument}>`)
      .description(description)
      .requiredOption('--reason <text>', 'why; goes to the ledger')
      .option('--approval <id>', 'approved request', Number)
      .option('--ask', 'put it before a second person, and do nothing yet');
    if (verb === 'revoke') command.option('--code <reason>', of.codes ?? '', 'unspecified');
    command.action(async (argument: string, options: ActOptions, self: Command) => {
      const { path, request, select } = of.name(argument);
      const globals = globalsOf(self);
      if (globals.dryRun) {
        return print(await clientOf(globals).post('/fleet-orders/preview', { act: verb, select }), globals.output);
      }
      if (options.ask === true) {
        return await askSecondPerson(self, { kind: `${of.noun}.${verb}`, request, selectionCount: 1 });
      }
      const { ask: _asked, ...body } = options;
      await callAndPrint(self, { method: 'POST', path: `${path}/${verb}`, body });
    });
    const noun = parent.name();
    withExamples(
      command,
      `${noun} ${verb} ${of.example} --reason "wrong profile" --dry-run`,
      `${noun} ${verb} ${of.example} --reason "wrong profile"${verb === 'release' ? ' --approval 7' : ''}`,
    );
  }
}

function addBlock(key: Command): void {
  withExamples(
    key
      .command('block <key...>')
      .description(
        'takes in compromised keys: blocked for ever, certificates revoked, units suspended. A key is a SHA-256 fingerprint, or a file: certificate, request, public key, private key, or a list of these',
      )
      .requiredOption('--reason <text>', 'why; goes to the ledger')
      .option('--source <text>', 'where it was found', 'operator')
      .option('--approval <id>', 'approved request, where more than a hundred units are concerned', Number)
      .option('--ask', 'put it before a second person, and do nothing yet')
      .action(async (names: string[], options: ActOptions & { source: string }, command: Command) => {
        const reported = distinct(names.flatMap(readKeys));
        if (reported.length > KEYS_AT_ONCE_MAX) {
          throw new FemtoError(
            'BAD_REQUEST',
            `These are ${reported.length} keys; give at most ${KEYS_AT_ONCE_MAX} at once.`,
          );
        }
        const { reason, source, approval, ask } = options;
        for (const { spkiHash, shownAs } of reported) note(`${spkiHash.toString('hex')}  ${shownAs}`);
        if (ask === true) return await askSecondPerson(command, keyBlockAct(reported, reason, source));
        // Fingerprints alone are sent: a private key does not leave this machine.
        const keys = reported.map(({ spkiHash }) => spkiHash.toString('hex'));
        const body = { keys, reason, source, ...(approval === undefined ? {} : { approval }) };
        await callAndPrint(command, { method: 'POST', path: '/keys/block', body });
      }),
    'key block 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --reason "published"',
    'key block leaked.pem dump/*.key --reason "found on a forum" --source "report 17"',
  );
}

function readKeys(name: string): ReportedKey[] {
  if (!existsSync(name)) return reportedKeys(Buffer.from(name, 'utf8'));
  if (statSync(name).size > EVIDENCE_BYTES_MAX) {
    throw new FemtoError('BAD_REQUEST', `${name} is larger than ${EVIDENCE_BYTES_MAX} bytes; split it.`);
  }
  return reportedKeys(readFileSync(name));
}

function distinct(keys: readonly ReportedKey[]): ReportedKey[] {
  return [...new Map(keys.map((key) => [key.spkiHash.toString('hex'), key])).values()];
}
