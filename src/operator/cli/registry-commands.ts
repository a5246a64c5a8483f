import type { Command } from 'commander';
import { callAndPrint, query, readTextFile, withExamples } from './command-context.js';

/** maker, batch, line, cell, factory-credential: what exists before a unit serves. */
export function addRegistryCommands(program: Command): void {
  addMakers(program);
  addBatches(program);
  addPlaces(program);
  addCredentials(program);
}

function addMakers(program: Command): void {
  const maker = program.command('maker').description('manufacturers');
  withExamples(
    maker
      .command('list')
      .description('makers and their EUI prefixes')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/makers' })),
    'maker list',
    'maker list -o json',
  );
  withExamples(
    maker
      .command('add <name>')
      .description('registers a maker with the public key that signs its manifests')
      .requiredOption('--manifest-key <file>', 'PEM public key, P-256')
      .requiredOption('--eui-prefix <hex...>', 'EUI prefixes that are this maker’s')
      .action((name: string, options: { manifestKey: string; euiPrefix: string[] }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: '/makers',
          body: { name, manifestKeyPem: readTextFile(options.manifestKey), euiPrefixes: options.euiPrefix },
        }),
      ),
    'maker add "Garam Celltech" --manifest-key garam.pub --eui-prefix 00005e',
    'maker add "Nuribom Electronics" --manifest-key nuribom.pub --eui-prefix 0200a1 0200a2',
  );
}

function addBatches(program: Command): void {
  const batch = program.command('batch').description('manifests: what a maker says it built');
  withExamples(
    batch
      .command('list')
      .description('batches, newest first')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/batches' })),
    'batch list',
    'batch list -o yaml',
  );
  withExamples(
    batch
      .command('submit <file>')
      .description('submits a signed manifest (compact JWS); --dry-run reports row by row')
      .action((file: string, _options, command: Command) => {
        const dryRun = command.optsWithGlobals()['dryRun'] === true;
        const body = { manifestJws: readTextFile(file).trim(), dryRun };
        // The server's dry run checks the rows; ours would only print them.
        command.parent?.parent?.setOptionValue('dryRun', false);
        return callAndPrint(command, { method: 'POST', path: '/batches', body });
      }),
    'batch submit manifest.jws --dry-run',
    'batch submit manifest.jws',
  );
  withExamples(
    batch
      .command('accept <id>')
      .description('accepts a submitted manifest')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/batches/${encodeURIComponent(id)}/accept`, body: {} }),
      ),
    'batch accept 1',
    'batch accept 1 --dry-run',
  );
  withExamples(
    batch
      .command('close <id>')
      .description('ends enrolment and counts what is missing')
      .action((id: string, _options, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `/batches/${encodeURIComponent(id)}/close`, body: {} }),
      ),
    'batch close 1',
    'batch close 1 -o json',
  );
}

function addPlaces(program: Command): void {
  const line = program.command('line').description('access lines and the addresses that belong to them');
  withExamples(
    line
      .command('list')
      .description('lines')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/lines' })),
    'line list',
    'line list -o json',
  );
  withExamples(
    line
      .command('add <name>')
      .description('adds a line')
      .option('--region <name>', 'coarse region, never a street')
      .option('--prefix <cidr...>', 'prefixes the line has now')
      .action((name: string, options: { region?: string; prefix?: string[] }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: '/lines',
          body: {
            name,
            ...(options.region ? { region: options.region } : {}),
            prefixes: (options.prefix ?? []).map((prefix) => ({ prefix, authoritative: true })),
          },
        }),
      ),
    'line add L-100 --region gangnam --prefix 198.51.100.7/32',
    'line add L-101 --prefix 2001:db8:10::/60',
  );
  withExamples(
    line
      .command('prefix <name> <cidr>')
      .description('says that a prefix belongs to the line from now on')
      .option('--not-authoritative', 'shared address space: never above soft evidence')
      .action((name: string, prefix: string, options: { notAuthoritative?: boolean }, command: Command) =>
        callAndPrint(command, {
          method: 'POST',
          path: `/lines/${encodeURIComponent(name)}/prefixes`,
          body: { prefix, authoritative: options.notAuthoritative !== true },
        }),
      ),
    'line prefix L-100 198.51.100.8/32',
    'line prefix L-100 203.0.113.0/25 --not-authoritative',
  );
  withExamples(
    program
      .command('cell')
      .description('cell identities')
      .command('add <id>')
      .description('adds a cell that a unit may be given at activation')
      .requiredOption('--segw <address>', 'security gateway it will use')
      .action((id: string, options: { segw: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: '/cells', body: { id, segwAddress: options.segw } }),
      ),
    'cell add 001-01-0000101 --segw segw-gangnam-1',
    'cell add 001-01-0000102 --segw segw-gangnam-2 --dry-run',
  );
}

function addCredentials(program: Command): void {
  const credential = program
    .command('factory-credential')
    .description('what a station or token may enrol, where and how often');
  withExamples(
    credential
      .command('list')
      .description('credentials')
      .action((_options, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/factory-credentials${query({})}` }),
      ),
    'factory-credential list',
    'factory-credential list -o json',
  );
  withExamples(
    credential
      .command('add <name>')
      .description('lets a station (or a token key) enrol one batch')
      .requiredOption('--maker <name>', 'maker')
      .requiredOption('--batch <name>', 'batch')
      .requiredOption('--site <name>', 'site')
      .requiredOption('--cidr <cidr...>', 'where it may call from')
      .option('--station <name>', 'approved station whose key it is bound to')
      .option('--token-key <file>', 'PEM public key that signs its tokens')
      .option('--quota <n>', 'enrolments at most', Number)
      .option('--hours <n>', 'life in hours, at most 168', Number)
      .action(
        (
          name: string,
          options: {
            maker: string;
            batch: string;
            site: string;
            cidr: string[];
            station?: string;
            tokenKey?: string;
            quota?: number;
            hours?: number;
          },
          command: Command,
        ) =>
          callAndPrint(command, {
            method: 'POST',
            path: '/factory-credentials',
            body: {
              name,
              maker: options.maker,
              batch: options.batch,
              site: options.site,
              cidrs: options.cidr,
              ...(options.station ? { station: options.station } : {}),
              ...(options.tokenKey ? { tokenKeyPem: readTextFile(options.tokenKey) } : {}),
              ...(options.quota === undefined ? {} : { quota: options.quota }),
              ...(options.hours === undefined ? {} : { lifeHours: options.hours }),
            },
          }),
      ),
    'factory-credential add garam-line-1 --maker "Garam Celltech" --batch B-2411 --site pyeongtaek --cidr 127.0.0.1/32 --station station-1',
    'factory-credential add garam-token --maker "Garam Celltech" --batch B-2411 --site pyeongtaek --cidr 198.51.100.0/25 --token-key token.pub --quota 50 --hours 12',
  );
}
