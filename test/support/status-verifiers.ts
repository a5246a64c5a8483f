/**
 * What others make of our answers and CRLs, each in its own program, all in one vocabulary. Exit codes prove nothing
 * (`openssl ocsp` ends with 0 on revoked): every verdict is read from the text, and a text that says nothing known fails.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificatePem } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { run, runClient } from './command.js';
import type { StatusPort } from './status-service.js';

export type Said = 'good' | 'revoked' | 'held' | 'never issued' | 'unauthorized' | 'expired' | 'no chain' | 'no answer';

/** A leaf and what it chains to, DER. The root also signs the CRL `${rootLabel}.crl` of the port's directory. */
export interface Question {
  readonly leafDer: Buffer;
  readonly caDer: Buffer;
  readonly caLabel: string;
  readonly rootDer: Buffer;
  readonly rootLabel: string;
  /** Of the certificate's CA, `shard-4-3`: where its entry would be. */
  readonly shard?: string;
  /** The complete CRL, PEM, on which the newest delta builds. */
  readonly basePem?: string;
  /** Whom an OCSP client believes to be the issuer, if not the CA of the chain. */
  readonly ocspCaDer?: Buffer;
}

export type Verifier = (port: StatusPort, question: Question) => Promise<Said>;

/** By OCSP. Those by nonce are answered live, the others from the cache. */
export const OCSP_VERIFIERS: Readonly<Record<string, Verifier>> = {
  'openssl ocsp, POST, nonce': (port, question) => opensslAsks(port, question, []),
  'openssl ocsp, POST, no nonce': (port, question) => opensslAsks(port, question, ['-no_nonce']),
  'openssl ocsp, POST, SHA-256': (port, question) => opensslAsks(port, question, ['-no_nonce'], ['-sha256']),
  'curl, GET, no nonce, read by openssl': (port, question) => curlGets(port, question, '-no_nonce'),
  'curl, GET, nonce, read by openssl': (port, question) => curlGets(port, question, '-nonce'),
  'ocsptool --ask, nonce': (port, question) => ocsptoolAsks(port, question, ['--nonce']),
  'ocsptool --ask, no nonce': (port, question) => ocsptoolAsks(port, question, ['--no-nonce']),
  'ocsptool --verify-response': ocsptoolReads,
};

/** By the CRL as it is fetched from the port. */
export const CRL_VERIFIERS: Readonly<Record<string, Verifier>> = {
  'openssl verify -crl_check_all': async (port, question) =>
    opensslJudges(port, question, await bothCrls(port, question)),
  'certtool --verify --load-crl': certtoolJudgesByCrl,
};

/** By parts of it. The base is what a cache may still hold; the complete one of the delta's own number makes it needless. */
export const DELTA_VERIFIERS: Readonly<Record<string, Verifier>> = {
  'openssl verify -use_deltas, base and delta': async (port, question) => {
    const delta = await fetchCrlPem(port, `${question.caLabel}.delta`);
    const root = await fetchCrlPem(port, question.rootLabel);
    return opensslJudges(port, question, `${question.basePem ?? ''}${delta}${root}`, DELTAS);
  },
  'openssl verify -use_deltas, newest and delta': async (port, question) => {
    const delta = await fetchCrlPem(port, `${question.caLabel}.delta`);
    return opensslJudges(port, question, delta + (await bothCrls(port, question)), DELTAS);
  },
};
const DELTAS = ['-use_deltas', '-extended_crl'];

/** For certificates that name their shard. */
export const SHARD_VERIFIERS: Readonly<Record<string, Verifier>> = {
  'openssl verify -extended_crl, its shard': async (port, question) =>
    opensslJudges(port, question, await shardAndRoot(port, question), ['-extended_crl']),
};

async function shardAndRoot(port: StatusPort, { caLabel, rootLabel, shard }: Question): Promise<string> {
  return (await fetchCrlPem(port, `${caLabel}.${shard}`)) + (await fetchCrlPem(port, rootLabel));
}

/** The fetched CRL of one CA, as `certtool --verify-crl` calls it; its text as openssl prints it. */
export async function verifiedCrl(port: StatusPort, { caLabel, caDer }: Question): Promise<string> {
  const path = paths(port);
  writeFileSync(path('issuer.pem'), certificatePem(caDer));
  await fetchCrlPem(port, caLabel);
  const seen = run('certtool', [
    '--verify-crl',
    '--load-ca-certificate',
    path('issuer.pem'),
    '--infile',
    path(`${caLabel}.crl.pem`),
  ]).text;
  if (!seen.includes('Verification output: Verified')) throw new Error(`certtool --verify-crl: ${seen}`);
  return run('openssl', ['crl', '-in', path(`${caLabel}.crl.pem`), '-noout', '-text']).text;
}

const paths = (port: StatusPort) => (name: string) => join(port.dir, name);

function writeFiles(
  port: StatusPort,
  { leafDer, caDer, rootDer, ocspCaDer = caDer }: Question,
): (name: string) => string {
  const path = paths(port);
  writeFileSync(path('leaf.pem'), certificatePem(leafDer));
  writeFileSync(path('issuer.pem'), certificatePem(ocspCaDer));
  writeFileSync(path('root.pem'), certificatePem(rootDer));
  writeFileSync(path('chain.pem'), certificatePem(rootDer) + certificatePem(caDer));
  return path;
}

async function opensslAsks(
  port: StatusPort,
  question: Question,
  args: readonly string[],
  hash: readonly string[] = [],
): Promise<Said> {
  const path = writeFiles(port, question);
  const about = ['-issuer', path('issuer.pem'), ...hash, '-cert', path('leaf.pem')];
  const where = ['-url', `${port.url}/ocsp`, '-CAfile', path('root.pem'), '-timeout', '10'];
  return opensslSaid((await runClient('openssl', ['ocsp', ...about, ...where, ...args])).text);
}

async function curlGets(port: StatusPort, question: Question, nonce: '-nonce' | '-no_nonce'): Promise<Said> {
  const path = writeFiles(port, question);
  const about = ['-issuer', path('issuer.pem'), '-cert', path('leaf.pem')];
  run('openssl', ['ocsp', ...about, nonce, '-reqout', path('req.der')]);
  const base64 = encodeURIComponent(readFileSync(path('req.der')).toString('base64'));
  await runClient('curl', ['-sS', '-f', '-o', path('resp.der'), `${port.url}/ocsp/${base64}`]);
  // With the request in hand openssl also compares its nonce; without `-no_nonce` it would put a new one into it.
  const judged = ['-no_nonce', '-reqin', path('req.der'), '-issuer', path('issuer.pem'), '-cert', path('leaf.pem')];
  const { text } = run('openssl', ['ocsp', ...judged, '-respin', path('resp.der'), '-CAfile', path('root.pem')]);
  if (nonce === '-nonce' && text.includes('WARNING: no nonce')) throw new Error(`the nonce did not come back: ${text}`);
  return opensslSaid(text);
}

function opensslSaid(text: string): Said {
  if (text.includes('unauthorized (6)')) return 'unauthorized';
  if (!text.includes('Response verify OK') || text.includes('WARNING: Status times invalid'))
    throw new Error(`openssl ocsp: ${text}`);
  if (/: good$/m.test(text)) return 'good';
  if (/: revoked$/m.test(text)) {
    if (!text.includes('Reason: certificateHold')) return 'revoked';
    return text.includes(' 1970 GMT') ? 'never issued' : 'held';
  }
  throw new Error(`openssl ocsp: ${text}`);
}

async function ocsptoolAsks(port: StatusPort, question: Question, args: readonly string[]): Promise<Said> {
  const path = writeFiles(port, question);
  const loads = [
    '--load-issuer',
    path('issuer.pem'),
    '--load-cert',
    path('leaf.pem'),
    '--load-trust',
    path('chain.pem'),
  ];
  return ocsptoolSaid((await runClient('ocsptool', [`--ask=${port.url}/ocsp`, ...loads, ...args])).text);
}

/** Request by ocsptool, transport by curl, then the two halves of its judgement: the signature, and what it says. */
async function ocsptoolReads(port: StatusPort, question: Question): Promise<Said> {
  const path = writeFiles(port, question);
  const loads = ['--load-issuer', path('issuer.pem'), '--load-cert', path('leaf.pem')];
  run('ocsptool', ['--generate-request', ...loads, '--no-nonce', '--outfile', path('req.der')]);
  const type = 'content-type: application/ocsp-request';
  const body = `@${path('req.der')}`;
  await runClient('curl', ['-sS', '-f', '-H', type, '--data-binary', body, '-o', path('resp.der'), `${port.url}/ocsp`]);
  const shown = run('ocsptool', ['--response-info', '--load-response', path('resp.der')]).text;
  if (shown.includes('Response Status: Unauthorized')) return 'unauthorized';
  const trust = ['--load-trust', path('chain.pem')];
  return ocsptoolSaid(
    shown + run('ocsptool', ['--verify-response', '--load-response', path('resp.der'), ...trust]).text,
  );
}

function ocsptoolSaid(text: string): Said {
  if (/Response Status: Unauthorized/i.test(text)) return 'unauthorized';
  if (!/Verifying OCSP Response: Success/.test(text)) throw new Error(`ocsptool: ${text}`);
  if (text.includes('Certificate Status: good')) return 'good';
  // It prints no reason: a hold looks like a revocation.
  if (text.includes('Certificate Status: revoked'))
    return / 1970$/m.test(/Revocation time: .*/.exec(text)?.[0] ?? '') ? 'never issued' : 'revoked';
  throw new Error(`ocsptool: ${text}`);
}

async function fetchCrlPem(port: StatusPort, label: string): Promise<string> {
  const path = paths(port);
  await runClient('curl', ['-sS', '-f', '-o', path(`${label}.fetched`), `${port.url}/crl/${label}.crl`]);
  const pem = run('openssl', ['crl', '-inform', 'DER', '-in', path(`${label}.fetched`)]).text;
  if (pemBlocks(pem).length !== 1) throw new Error(`the CRL of ${label}: ${pem}`);
  writeFileSync(path(`${label}.crl.pem`), pem);
  return pem;
}

/** @param crls  PEM */
async function opensslJudges(
  port: StatusPort,
  question: Question,
  crls: string,
  args: readonly string[] = [],
): Promise<Said> {
  const path = writeFiles(port, question);
  writeFileSync(path('crls.pem'), crls);
  const files = ['-CAfile', path('chain.pem'), '-CRLfile', path('crls.pem'), path('leaf.pem')];
  const { text } = run('openssl', ['verify', '-x509_strict', '-crl_check_all', ...args, ...files]);
  if (text.includes('certificate revoked')) return 'revoked';
  if (text.includes('certificate has expired')) return 'expired';
  if (text.includes('unable to get local issuer certificate')) return 'no chain';
  if (text.includes('different CRL scope')) return 'no answer';
  if (/leaf\.pem: OK$/m.test(text)) return 'good';
  throw new Error(`openssl verify: ${text}`);
}

async function certtoolJudgesByCrl(port: StatusPort, question: Question): Promise<Said> {
  const path = writeFiles(port, question);
  writeFileSync(path('crls.pem'), await bothCrls(port, question));
  const files = [
    '--load-ca-certificate',
    path('chain.pem'),
    '--load-crl',
    path('crls.pem'),
    '--infile',
    path('leaf.pem'),
  ];
  const { text } = run('certtool', ['--verify', ...files]);
  const [verdict = ''] = /Chain verification output:.*/.exec(text) ?? [];
  if (/revoked/.test(verdict)) return 'revoked';
  if (/expired/.test(verdict)) return 'expired';
  if (/issuer is unknown|could not be found/.test(verdict)) return 'no chain';
  if (/output: Verified\. The certificate is trusted/.test(verdict)) return 'good';
  throw new Error(`certtool --verify: ${text}`);
}

async function bothCrls(port: StatusPort, { caLabel, rootLabel }: Question): Promise<string> {
  return (await fetchCrlPem(port, caLabel)) + (await fetchCrlPem(port, rootLabel));
}
