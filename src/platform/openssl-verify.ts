import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pemBlock } from '../x509/pem.js';
import type { ChainFault, ChainJudge, ChainQuestion, ChainVerdict } from './chain-judge.js';
import { FemtoError } from './errors.js';
import { FewAtOnce } from './few-at-once.js';

export interface OpensslOptions {
  /** Where a question's files lie while it is asked: in a directory of its own, 0700, removed afterwards. */
  readonly directory: string;
  /** Default `openssl`, found by PATH. */
  readonly program?: string;
  /** Default {@link TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

/** A verification takes some milliseconds; one that takes longer is stuck. */
const TIMEOUT_MS = 2_000;
/** Judging must not take the machine from those who only renew. */
const RUNNING_MAX = 4;
const WAITING_MAX = 64;
const OUTPUT_BYTES_MAX = 65_536;

/**
 * `openssl verify` as the judge of chains, one child process a question. It sees the question's certificates and nothing
 * of the machine: no system trust store, no configuration file, no names from outside in its arguments.
 */
export function makeOpensslJudge(options: OpensslOptions): ChainJudge {
  const few = new FewAtOnce(RUNNING_MAX, WAITING_MAX);
  return { judge: (question) => few.run(() => judge(options, question), busy) };
}

async function judge(options: OpensslOptions, question: ChainQuestion): Promise<ChainVerdict> {
  const directory = await mkdtemp(join(options.directory, 'femtopki-chain-'));
  try {
    const files = await writeFiles(directory, question);
    return readVerdict(await ask(options, argumentsFor(question, files), pem('CERTIFICATE', [question.leafDer])));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface Files {
  readonly root: string;
  /** Undefined where there is nothing: OpenSSL refuses an empty file. */
  readonly untrusted: string | undefined;
  readonly crls: string | undefined;
}

async function writeFiles(directory: string, { rootDer, untrusted, crls }: ChainQuestion): Promise<Files> {
  const write = async (name: string, label: string, ders: readonly Buffer[]): Promise<string> => {
    const file = join(directory, name);
    await writeFile(file, pem(label, ders), { mode: 0o600, flag: 'wx' });
    return file;
  };
  return {
    root: await write('root.pem', 'CERTIFICATE', [rootDer]),
    untrusted: untrusted.length === 0 ? undefined : await write('untrusted.pem', 'CERTIFICATE', untrusted),
    crls: crls.length === 0 ? undefined : await write('crls.pem', 'X509 CRL', crls),
  };
}

function argumentsFor({ revocation, at }: ChainQuestion, files: Files): string[] {
  return [
    'verify',
    '-x509_strict',
    '-purpose',
    'any',
    // 112 bits: RSA from 2048, no SHA-1, in every certificate of the path but the root's own signature.
    '-auth_level',
    '2',
    '-no-CApath',
    '-no-CAstore',
    '-attime',
    String(Math.floor(at.getTime() / 1_000)),
    '-CAfile',
    files.root,
    ...(files.untrusted === undefined ? [] : ['-untrusted', files.untrusted]),
    ...(files.crls === undefined ? [] : ['-CRLfile', files.crls]),
    ...(revocation === 'none' ? [] : ['-crl_check']),
    ...(revocation === 'path' ? ['-crl_check_all'] : []),
  ];
}

interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function ask({ program = 'openssl', timeoutMs = TIMEOUT_MS }: OpensslOptions, args: string[], leafPem: string) {
  // Nothing of our own environment (database address, PINs of a demo) goes to the child.
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', OPENSSL_CONF: '/dev/null' };
  return new Promise<Answer>((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ exitCode: 0, stdout, stderr });
        if (typeof error.code === 'number') return resolve({ exitCode: error.code, stdout, stderr });
        reject(child.pid === undefined ? missing(error) : tooSlow(error));
      },
    );
    // A child that ends before it has read its input closes the pipe; its answer says why.
    child.stdin?.on('error', () => undefined).end(leafPem);
  });
}

const ERROR_LINE = /^error (\d+) at \d+ depth lookup: ?(.*)$/gm;

/**
 * Trusted only where everything agrees: exit code, the one OK line, and no error line. OpenSSL goes on after some errors to
 * name the next one, so that neither the code nor the line alone settles it.
 */
function readVerdict({ exitCode, stdout, stderr }: Answer): ChainVerdict {
  const errors = [...stderr.matchAll(ERROR_LINE)].map(([, number = '', text = '']) => ({
    fault: FAULT_OF[Number(number)] ?? ('untrusted' as const),
    text: text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 120),
  }));
  if (exitCode === 0 && stdout === 'stdin: OK\n' && errors.length === 0) return { isTrusted: true };
  const [worst] = errors.sort((a, b) => GRAVITY.indexOf(a.fault) - GRAVITY.indexOf(b.fault));
  return { isTrusted: false, ...(worst ?? { fault: 'untrusted', text: 'the chain could not be read' }) };
}

/** Of several faults the gravest is told. */
const GRAVITY: readonly ChainFault[] = ['revoked', 'untrusted', 'weak', 'not-yet-valid', 'expired', 'crl'];

/** X509_V_ERR_… numbers, part of OpenSSL's ABI (x509_vfy.h). */
const FAULT_OF: Readonly<Record<number, ChainFault>> = {
  3: 'crl', // unable to get certificate CRL
  8: 'crl', // CRL signature failure
  9: 'not-yet-valid',
  10: 'expired',
  11: 'crl', // CRL is not yet valid
  12: 'crl', // CRL has expired
  23: 'revoked',
  33: 'crl', // unable to get CRL issuer certificate
  35: 'crl', // key usage does not include CRL signing
  36: 'crl', // unhandled critical CRL extension
  44: 'crl', // different CRL scope
  54: 'crl', // CRL path validation error
  66: 'weak', // EE certificate key too weak
  67: 'weak', // CA certificate key too weak
  68: 'weak', // CA signature digest algorithm too weak
};

function pem(label: string, ders: readonly Buffer[]): string {
  return ders.map((der) => pemBlock(label, der)).join('');
}

function busy(): FemtoError {
  return new FemtoError('RETRY_LATER', 'Too many vendor chains are being judged; ask again in a moment.', {
    retryAfterSeconds: 5,
  });
}

function tooSlow(cause: Error): FemtoError {
  return new FemtoError('RETRY_LATER', 'The vendor chain was not judged in time; ask again in a moment.', {
    retryAfterSeconds: 5,
    cause,
  });
}

function missing(cause: Error): FemtoError {
  return new FemtoError('INTERNAL', 'The openssl program cannot be run; run femtopki doctor.', { cause });
}
