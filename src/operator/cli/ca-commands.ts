import { X509Certificate } from 'node:crypto';
import { type Command, Option } from 'commander';
import { FemtoError } from '../../platform/errors.js';
import { caAct } from '../people/ca-act.js';
import { callAndPrint, clientOf, globalsOf, readTextFile, withExamples } from './command-context.js';
import { askSecondPerson } from './sign-as.js';

interface ChangeOptions {
  readonly reason: string;
  readonly approval?: number;
}

/** ca list, request, activate, retire, acknowledge: a rollover with everything running. The ceremonies are beside it. */
export function addCaRollover(ca: Command): void {
  withExamples(
    ca
      .command('list')
      .description('our CAs and roots: in use or spare, until when, and which gateways have yet to know them')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/cas' })),
    'ca list',
    'ca list -o json',
  );
  withExamples(
    ca
      .command('request')
      .description('asks a second person to agree that a CA comes into use, or stops issuing for good')
      .addOption(new Option('--act <act>', 'what').choices(['activate', 'retire']).makeOptionMandatory())
      .argument('<label>', 'CA, as ca list names it')
      .requiredOption('--reason <text>', 'why; it is signed')
      .action(async (label: string, options: ChangeOptions & { act: 'activate' | 'retire' }, command: Command) => {
        const { certificateSha256 } = await caNamed(command, label);
        await askSecondPerson(command, caAct(options.act, { label, certificateSha256, reason: options.reason }));
      }),
    'ca request --act activate device-ca-2 --reason "second CA, plan 2026-11"',
    'ca request --act retire device-ca-1 --reason "ends in spring"',
  );
  for (const [verb, what] of [
    ['activate', 'takes a spare into use, while everything runs; every gateway knows it and an approver agreed'],
    ['retire', 'ends a CA’s issuing for good; what it issued is good until it ends. A root: ends the overlap'],
  ] as const) {
    withExamples(
      ca
        .command(`${verb} <label>`)
        .description(what)
        .requiredOption('--reason <text>', 'the reason that was signed')
        .option('--approval <id>', 'approved request, from ca request', Number)
        .action((label: string, options: ChangeOptions, command: Command) =>
          callAndPrint(command, { method: 'POST', path: `/cas/${encodeURIComponent(label)}/${verb}`, body: options }),
        ),
      `ca ${verb} device-ca-2 --reason "second CA, plan 2026-11" --approval 7`,
      `ca ${verb} device-ca-2 --reason "second CA, plan 2026-11" --approval 7 --dry-run`,
    );
  }
  withExamples(
    ca
      .command('acknowledge <label>')
      .description('says for a gateway without a connector that it was given this Device CA or Access Root')
      .requiredOption('--gateway <name>')
      .requiredOption('--certificate <file>', 'the certificate that the gateway was given, PEM')
      .action((label: string, options: { gateway: string; certificate: string }, command: Command) => {
        const certificateSha256 = sha256OfPem(options.certificate);
        const path = `/gateways/${encodeURIComponent(options.gateway)}/anchors`;
        return callAndPrint(command, { method: 'POST', path, body: { label, certificateSha256 } });
      }),
    'ca acknowledge device-ca-2 --gateway segw-gangnam-1 --certificate device-ca-2.pem',
    'ca acknowledge access-root-2 --gateway segw-gangnam-1 --certificate access-root-2.pem --dry-run',
  );
}

interface ShownCa {
  readonly label: string;
  readonly certificateSha256: string;
}

async function caNamed(command: Command, label: string): Promise<ShownCa> {
  const cas = (await clientOf(globalsOf(command)).get('/cas')) as ShownCa[];
  const ca = cas.find((one) => one.label === label);
  if (ca !== undefined) return ca;
  throw new FemtoError('NOT_FOUND', `There is no CA ${label}; femtopki ca list shows them.`);
}

function sha256OfPem(file: string): string {
  const pem = readTextFile(file);
  try {
    return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', `${file} holds no PEM certificate.`, { cause });
  }
}
