import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { FemtoError } from '../../platform/errors.js';
import {
  callAndPrint,
  clientOf,
  globalsOf,
  personKeyOf,
  query,
  readTextFile,
  withExamples,
} from './command-context.js';
import { note, print } from './output.js';
import { askSecondPerson, signAs } from './sign-as.js';

/** gateway, station, machine, approval, case, ledger, renewal, admission, sign-in, status. */
export function addServiceCommands(program: Command): void {
  withExamples(
    program
      .command('status')
      .description('what is broken, late or open')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/overview' })),
    'status',
    'status -o json',
  );
  addMachineKind(program, 'gateway', 'security gateways that may ask authorise');
  addMachineKind(program, 'station', 'factory stations');
  addMachines(program);
  addApprovals(program);
  addCases(program);
  addRenewals(program);
  addSignIn(program);
}

function addMachineKind(program: Command, kind: 'gateway' | 'station', description: string): void {
  const noun = program.command(kind).description(description);
  withExamples(
    noun
      .command('list')
      .description(`${kind}s`)
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: `/machines?kind=${kind}` })),
    `${kind} list`,
    `${kind} list -o json`,
  );
  const add = noun
    .command('add <name>')
    .description(`asks for a Services certificate for a ${kind}; an approver releases it`)
    .requiredOption('--csr <file>', 'PEM or DER request made with its own key (openssl req)');
  if (kind === 'station') add.requiredOption('--maker <name>', 'the maker it works for');
  else add.requiredOption('--dns <name>', 'its FQDN');
  add.action((name: string, options: { csr: string; maker?: string; dns?: string }, command: Command) =>
    callAndPrint(command, {
      method: 'POST',
      path: '/machines',
      body: {
        kind,
        name,
        csrPem: readTextFile(options.csr),
        ...(options.maker ? { maker: options.maker } : {}),
        ...(options.dns ? { dnsName: options.dns } : {}),
      },
    }),
  );
  const extra = kind === 'station' ? '--maker "Garam Celltech"' : '--dns segw-gangnam-1.hanbit.example';
  withExamples(
    add,
    `${kind} add ${kind === 'station' ? 'station-1' : 'segw-gangnam-1'} --csr request.pem ${extra}`,
    `${kind} add spare --csr request.pem ${extra} --dry-run`,
  );
}

function addMachines(program: Command): void {
  const machine = program
    .command('machine')
    .description('every holder of a Services certificate, our own servers among them');
  withExamples(
    machine
      .command('list')
      .description('machines')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/machines' })),
    'machine list',
    'machine list -o yaml',
  );
  withExamples(
    machine
      .command('show <name>')
      .description('one machine; with --certificate only its PEM')
      .option('--certificate', 'print the certificate alone')
      .action(async (name: string, options: { certificate?: boolean }, command: Command) => {
        const path = `/machines/${encodeURIComponent(name)}`;
        if (options.certificate !== true) return await callAndPrint(command, { method: 'GET', path });
        const value = (await clientOf(globalsOf(command)).get(path)) as { certificatePem: string | null };
        if (value.certificatePem === null)
          throw new FemtoError(
            'NOT_FOUND',
            `${name} has no certificate yet; approve it with femtopki machine approve ${name}.`,
          );
        process.stdout.write(value.certificatePem);
      }),
    'machine show segw-gangnam-1',
    'machine show segw-gangnam-1 --certificate > gateway.pem',
  );
  withExamples(
    machine
      .command('approve <name>')
      .description('approves a request; needs the role approver')
      .action((name: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/machines/${encodeURIComponent(name)}/approve`, body: {} }),
      ),
    'machine approve segw-gangnam-1 --as approver',
    'machine approve station-1 --as approver -o json',
  );
  withExamples(
    machine
      .command('disable <name>')
      .description('ends a machine’s role at once')
      .requiredOption('--reason <text>')
      .action((name: string, options: { reason: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/machines/${encodeURIComponent(name)}/disable`, body: options }),
      ),
    'machine disable station-1 --reason "contract ended"',
    'machine disable segw-busan-1 --reason "replaced" --dry-run',
  );
}

interface ApprovalOptions {
  readonly line?: string;
  readonly evidence?: string;
}

function addApprovals(program: Command): void {
  const approval = program.command('approval').description('acts that need two people');
  withExamples(
    approval
      .command('list')
      .description('requests, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/approvals' })),
    'approval list',
    'approval list -o json',
  );
  withExamples(
    approval
      .command('request <kind> <serial>')
      .description(
        'asks for unit.release, grant.live-head, or unit.lost, .hold, .revoke, .retire beyond a hundred a day; signed with your own key',
      )
      .option('--line <name>', 'for grant.live-head')
      .option('--evidence <document>', 'for unit.release of a lost unit: its inspection record')
      .action(async (kind: string, serial: string, options: ApprovalOptions, command: Command) => {
        const globals = globalsOf(command);
        const unit = (await clientOf(globals).get(`/units/${encodeURIComponent(serial)}`)) as { state: string };
        const request: Record<string, string> =
          kind === 'grant.live-head'
            ? { unit: serial, line: options.line ?? '' }
            : {
                unit: serial,
                state: unit.state,
                ...(options.evidence === undefined ? {} : { evidence: options.evidence }),
              };
        await askSecondPerson(command, { kind, request, selectionCount: 1 });
      }),
    'approval request unit.release SHB-24-00817 --evidence "inspection 2026-118"',
    'approval request grant.live-head SHB-24-00817 --line L-100',
  );
  withExamples(
    approval
      .command('approve <id>')
      .description('approves somebody else’s request, signed with your own key')
      .action(async (id: string, _options, command: Command) => {
        const globals = globalsOf(command);
        const all = (await clientOf(globals).get('/approvals')) as { id: number; request: string }[];
        const asked = all.find((row) => row.id === Number(id));
        if (!asked) throw new FemtoError('NOT_FOUND', `No request ${id}; list them with femtopki approval list.`);
        note(`You approve: ${asked.request}`);
        // Over the request that was shown, never over a hash that somebody else computed.
        const hash = createHash('sha256').update(asked.request).digest();
        await callAndPrint(command, {
          method: 'POST',
          path: `/approvals/${encodeURIComponent(id)}/approve`,
          body: { signature: signAs(globals, hash, 'approver') },
        });
      }),
    'approval approve 7 --as approver',
    'approval approve 7 --as approver -o json',
  );
}

function addCases(program: Command): void {
  const incident = program.command('case').description('cases that people must answer');
  withExamples(
    incident
      .command('list')
      .description('cases, newest first')
      .option('--state <state>', 'open, acknowledged or closed')
      .action((options: { state?: string }, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/cases${query(options)}` }),
      ),
    'case list --state open',
    'case list -o json',
  );
  withExamples(
    incident
      .command('acknowledge <id>')
      .description('takes a case over, by name')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/cases/${encodeURIComponent(id)}/acknowledge`, body: {} }),
      ),
    'case acknowledge 3',
    'case acknowledge 3 --as approver',
  );
  const one = (id: string, act = ''): string => `/cases/${encodeURIComponent(id)}${act}`;
  withExamples(
    incident
      .command('show <id>')
      .description('one case: since when somebody knew, what is owed until when, all that happened')
      .action((id: string, _options, command: Command) => callAndPrint(command, { method: 'GET', path: one(id) })),
    'case show 3',
    'case show 3 -o json',
  );
  withExamples(
    incident
      .command('fact <id>')
      .description('records a confirmed new fact, which the authority is owed by its own time')
      .requiredOption('--fact <text>', 'what is known now')
      .action((id: string, body: { fact: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: one(id, '/facts'), body }),
      ),
    'case fact 3 --fact "the same key was seen at two gateways on 24 November"',
    'case fact 3 --fact "four more cells are affected" --dry-run',
  );
  withExamples(
    incident
      .command('report <id>')
      .description('says that an owed report went out')
      .requiredOption('--duty <name>', 'as case show names it')
      .requiredOption('--receipt <text>', 'what the receiver gave for it')
      .action((id: string, body: { duty: string; receipt: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: one(id, '/reports'), body }),
      ),
    'case report 3 --duty network-initial --receipt "receipt 2026-1124-7"',
    'case report 3 --duty privacy-authority --receipt "receipt P-881" --dry-run',
  );
  withExamples(
    incident
      .command('close <id>')
      .description('closes a case that owes no report')
      .requiredOption('--reason <text>', 'what became of it')
      .action((id: string, body: { reason: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: one(id, '/close'), body }),
      ),
    'case close 3 --reason "unit retired, both holders cut off"',
    'case close 3 --reason "false alarm, reported as such" --dry-run',
  );
  withExamples(
    program
      .command('ledger')
      .description('newest entries of the ledger')
      .option('--subject <text>', 'e.g. unit:SHB-24-00817')
      .option('--kind <kind>', 'e.g. certificate.issued')
      .option('--limit <n>', 'rows at most', '20')
      .action((options: Record<string, string>, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/ledger${query(options)}` }),
      ),
    'ledger --subject unit:SHB-24-00817',
    'ledger --kind lineage.forked --limit 5 -o json',
  );
}

function addRenewals(program: Command): void {
  const renewal = program.command('renewal').description('what the rotation worker sees');
  withExamples(
    renewal
      .command('list')
      .description('due, reminded, overdue and dead')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/renewals' })),
    'renewal list',
    'renewal list -o json',
  );
  withExamples(
    renewal
      .command('dead-letters')
      .description('jobs that failed for good')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/dead-letters' })),
    'renewal dead-letters',
    'renewal dead-letters -o json',
  );
  const admission = program.command('admission').description('new activations, of the fleet or of one model');
  for (const [verb, frozen] of [
    ['freeze', true],
    ['thaw', false],
  ] as const) {
    withExamples(
      admission
        .command(verb)
        .description(frozen ? 'stops new activations; renewals go on' : 'allows new activations again')
        .requiredOption('--reason <text>')
        .option('--model <model>', 'only units of this model')
        .action((options: { reason: string; model?: string }, command: Command) =>
          callAndPrint(command, { method: 'POST', path: '/admission', body: { frozen, ...options } }),
        ),
      `admission ${verb} --reason "cloned units seen"`,
      `admission ${verb} --model FC-200 --reason "under inspection"`,
    );
  }
}

function addSignIn(program: Command): void {
  withExamples(
    program
      .command('sign-in <link-file>')
      .description('spends a one-time link (a 0600 file) and binds your own new key')
      .action(async (linkFile: string, _options, command: Command) => {
        const globals = globalsOf(command);
        const keyFile = join(globals.data, 'secrets', `person-${globals.as}.key`);
        if (!existsSync(keyFile)) {
          const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
          writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
        }
        const publicKeyPem = createPublicKey(personKeyOf(globals)).export({ type: 'spki', format: 'pem' }).toString();
        const token = readTextFile(linkFile).trim().split('#token=').at(-1) ?? '';
        const response = await fetch(`${globals.server}/api/v1/sign-in`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token, publicKeyPem }),
        });
        const value = (await response.json()) as { detail?: string };
        if (!response.ok) throw new FemtoError('DENIED', value.detail ?? 'The link was refused; ask for a new one.');
        note(`Your key is ${keyFile}; keep it as you keep your own.`);
        print(value, globals.output);
      }),
    'sign-in data/secrets/sign-in-operator.link',
    'sign-in data/secrets/sign-in-approver.link --as approver',
  );
}
