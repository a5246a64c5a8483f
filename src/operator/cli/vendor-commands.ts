import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { TOLERANCES } from '../../lifecycle/registry/index.js';
import { FemtoError } from '../../platform/errors.js';
import { pemBlock, pemBlocks } from '../../x509/pem.js';
import { type AnchorText, vendorAnchorAct } from '../api/vendor-anchor-act.js';
import { requestHash, textToSign } from '../people/approvals.js';
import { callAndPrint, clientOf, globalsOf, personKeyOf, withExamples } from './command-context.js';
import { note } from './output.js';

/** vendor-anchor, model: whose factory certificates are believed, and what a maker's firmware may do otherwise. */
export function addVendorCommands(program: Command): void {
  addAnchors(program);
  addModels(program);
}

interface AnchorOptions {
  readonly maker: string;
  readonly model: string;
  readonly certificate: string;
  readonly intermediate?: readonly string[];
}

function addAnchors(program: Command): void {
  const anchor = program
    .command('vendor-anchor')
    .description('makers’ own CAs, each believed for one model and for keys on its manifests (TS 33.310)');
  withExamples(
    anchor
      .command('list')
      .description('anchors, and until when their CRLs last')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/vendor-anchors' })),
    'vendor-anchor list',
    'vendor-anchor list -o json',
  );
  withExamples(
    anchorOptions(
      anchor
        .command('request <name>')
        .description('asks a second person to approve an anchor; signed with your own key'),
    ).action(async (name: string, options: AnchorOptions, command: Command) => {
      const globals = globalsOf(command);
      const text = anchorText(name, options);
      // Nobody should be asked to approve what would be refused.
      if (!globals.dryRun) await clientOf(globals).post('/vendor-anchors', { ...text, dryRun: true });
      const act = vendorAnchorAct(text);
      note(`You ask for: ${JSON.stringify(act.request)}`);
      const signature = globals.dryRun
        ? 'made when it is sent'
        : sign('sha256', textToSign(requestHash(act), 'requester'), createPrivateKey(personKeyOf(globals))).toString(
            'base64',
          );
      await callAndPrint(command, { method: 'POST', path: '/approvals', body: { ...act, signature } });
    }),
    'vendor-anchor request garam-root --maker "Garam Celltech" --model FC-200 --certificate root.pem',
    'vendor-anchor request garam-root --maker "Garam Celltech" --model FC-200 --certificate root.pem --intermediate ca.pem',
  );
  withExamples(
    anchorOptions(
      anchor
        .command('add <name>')
        .description(
          'believes a maker’s root for one model; an approver agreed to it; --dry-run has the server check it',
        ),
    )
      .option('--approval <id>', 'approved request, from vendor-anchor request', Number)
      .action((name: string, options: AnchorOptions & { approval?: number }, command: Command) => {
        const dryRun = globalsOf(command).dryRun;
        const body = {
          ...anchorText(name, options),
          dryRun,
          ...(options.approval === undefined ? {} : { approval: options.approval }),
        };
        // The server's dry run judges the chain; ours would only print it.
        command.parent?.parent?.setOptionValue('dryRun', false);
        return callAndPrint(command, { method: 'POST', path: '/vendor-anchors', body });
      }),
    'vendor-anchor add garam-root --maker "Garam Celltech" --model FC-200 --certificate root.pem --dry-run',
    'vendor-anchor add garam-root --maker "Garam Celltech" --model FC-200 --certificate root.pem --intermediate ca.pem --approval 7',
  );
  withExamples(
    anchor
      .command('disable <name>')
      .description('believes it no longer; certificates of ours stay, adding it again takes two people')
      .requiredOption('--reason <text>')
      .action((name: string, options: { reason: string }, command: Command) =>
        callAndPrint(command, { method: 'POST', path: `${path(name)}/disable`, body: { reason: options.reason } }),
      ),
    'vendor-anchor disable garam-root --reason "the maker was broken into"',
    'vendor-anchor disable garam-root --reason "replaced by garam-root-2" --dry-run',
  );
  withExamples(
    anchor
      .command('crl <name>')
      .description('registers the newest CRL of the anchor or of a CA below it, PEM or DER')
      .requiredOption('--crl <file>')
      .action((name: string, options: { crl: string }, command: Command) => {
        const crlBase64 = derOf(options.crl, 'X509 CRL').toString('base64');
        return callAndPrint(command, { method: 'POST', path: `${path(name)}/crl`, body: { crlBase64 } });
      }),
    'vendor-anchor crl garam-root --crl garam-root.crl',
    'vendor-anchor crl garam-root --crl garam-ca.crl -o json',
  );
}

function anchorOptions(command: Command): Command {
  return command
    .requiredOption('--maker <name>', 'maker')
    .requiredOption('--model <name>', 'model, as its manifests name it')
    .requiredOption('--certificate <file>', 'the maker’s root, PEM or DER')
    .option('--intermediate <file...>', 'CAs below the root that its units do not send, PEM or DER');
}

function addModels(program: Command): void {
  const model = program.command('model').description('how makers’ models are treated');
  withExamples(
    model
      .command('list')
      .description('models that somebody configured')
      .action((_options, command: Command) => callAndPrint(command, { method: 'GET', path: '/models' })),
    'model list',
    'model list -o yaml',
  );
  withExamples(
    model
      .command('set')
      .description('changes what is named and leaves the rest; all exceptions are off to begin with')
      .requiredOption('--maker <name>', 'maker')
      .requiredOption('--model <name>', 'model, as its manifests name it')
      .option('--label <text>', 'path segment of its EST and CMP addresses')
      .option('--no-label', 'takes the label away')
      .option('--tolerate <name...>', `one or more of ${TOLERANCES.join(', ')}`)
      .addOption(takenBack('--no-tolerate <name...>', 'takes them back'))
      .option('--allow-mac', 'lets its units ask for a bootstrap certificate with a shared secret')
      .option('--no-allow-mac', 'takes that back')
      .action((options: ModelOptions, command: Command) =>
        callAndPrint(command, { method: 'POST', path: '/models', body: modelChange(options) }),
      ),
    'model set --maker "Garam Celltech" --model FC-200 --label garam-fc200',
    'model set --maker "Garam Celltech" --model FC-200 --tolerate sender-null-dn extra-certs-absent --dry-run',
    'model set --maker "Garam Celltech" --model FC-200 --no-tolerate sender-null-dn --no-allow-mac',
  );
}

function path(name: string): string {
  return `/vendor-anchors/${encodeURIComponent(name)}`;
}

function anchorText(name: string, { maker, model, certificate, intermediate = [] }: AnchorOptions): AnchorText {
  return {
    name,
    maker,
    model,
    certificatePem: pemOf(certificate),
    intermediatePems: intermediate.map(pemOf),
  };
}

interface ModelOptions {
  readonly maker: string;
  readonly model: string;
  /** False: `--no-label`. */
  readonly label?: string | false;
  readonly tolerate?: readonly string[];
  readonly noTolerate?: readonly string[];
  readonly allowMac?: boolean;
}

function modelChange({ maker, model, label, tolerate, noTolerate, allowMac }: ModelOptions): Record<string, unknown> {
  return {
    maker,
    model,
    ...(label === undefined ? {} : { label: label === false ? null : label }),
    ...(tolerate === undefined ? {} : { tolerate }),
    ...(noTolerate === undefined ? {} : { noTolerate }),
    ...(allowMac === undefined ? {} : { allowMac }),
  };
}

/** An option of its own that begins with `--no-`: commander would read it as the other one's opposite, without a value. */
function takenBack(flags: string, description: string): Option {
  const option = new Option(flags, description);
  option.negate = false;
  return option;
}

const DER_SEQUENCE = 0x30;

/** PEM as it is; DER wrapped. */
function pemOf(file: string): string {
  const bytes = fileBytes(file);
  return bytes[0] === DER_SEQUENCE ? pemBlock('CERTIFICATE', bytes) : bytes.toString('utf8');
}

function derOf(file: string, label: string): Buffer {
  const bytes = fileBytes(file);
  if (bytes[0] === DER_SEQUENCE) return bytes;
  const [block, ...others] = pemBlocks(bytes.toString('utf8'));
  if (block?.label === label && others.length === 0) return block.der;
  throw new FemtoError('BAD_REQUEST', `${file} is not one ${label}, PEM or DER.`);
}

function fileBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new FemtoError('NOT_FOUND', `Cannot read ${file}; check the path.`, { cause });
  }
}
