/** A femtocell that speaks EST, made of `curl` and `openssl`, or of strongSwan's `pki`: nothing of ours on its side. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type CommandResult, runClient } from './command.js';
import { type CurlCredential, curlUnit } from './curl-unit.js';

const run = promisify(execFile);

export interface EstAnswer {
  readonly status: number;
  /** As they came, with the status line. */
  readonly headers: string;
  readonly text: string;
}

export interface EstRequest {
  readonly as?: CurlCredential;
  /** Password of HTTP Basic. */
  readonly code?: string;
  /** File sent as it is. */
  readonly body?: string;
  /** `null`: curl sends no content type. */
  readonly contentType?: string | null;
  readonly flags?: readonly string[];
}

export function estUnit(dir: string, port: number) {
  const unit = curlUnit(dir, port);
  const url = `https://localhost:${port}`;
  const tlsRoot = join(dir, 'services-root.pem');

  const call = async (path: string, request: EstRequest = {}): Promise<EstAnswer> => {
    const { as, code, body, contentType = 'application/pkcs10', flags = [] } = request;
    const [headerFile, bodyFile] = [unit.file('est-headers'), unit.file('est-answer')];
    const { stdout } = await run('curl', [
      ...['-sS', '--max-time', '30', '--cacert', tlsRoot, '-D', headerFile, '-o', bodyFile, '-w', '%{http_code}'],
      ...(as === undefined ? [] : ['--cert', as.pemFile, '--key', as.keyFile]),
      ...(code === undefined ? [] : ['--user', `unit:${code}`]),
      ...(body === undefined ? [] : ['--data-binary', `@${body}`]),
      ...(body === undefined ? [] : ['-H', contentType === null ? 'Content-Type:' : `Content-Type: ${contentType}`]),
      ...flags,
      ...['--resolve', `localhost:${port}:127.0.0.1`, `${url}/.well-known/est/${path}`],
    ]);
    return {
      status: Number(stdout),
      headers: readFileSync(headerFile, 'latin1'),
      text: readFileSync(bodyFile, 'utf8'),
    };
  };

  /** The certificates of a certs-only answer, as openssl reads them; null for any other answer. */
  const certificates = async ({ status, text }: EstAnswer): Promise<string | null> => {
    if (status !== 200) return null;
    const [base64, der, pem] = [unit.store('p7.b64', text), unit.file('p7.der'), unit.file('p7.pem')];
    await unit.openssl('base64', '-d', '-A', '-in', base64, '-out', der);
    await unit.openssl('pkcs7', '-inform', 'DER', '-in', der, '-print_certs', '-out', pem);
    return pem;
  };

  /** `openssl req` without nonce or password, base64 on one line; the path of a file. */
  const request = async (keyFile: string, subject?: string): Promise<string> =>
    unit.store('csr.b64', await unit.base64(await unit.csr(keyFile, null, subject)));

  return {
    ...unit,
    call,
    certificates,
    request,
    rest: unit.call,
    /** Asks with a fresh key unless one is given. `op` is null where nothing was issued. */
    enroll: async (path: string, options: EstRequest & { keyFile?: string } = {}) => {
      const { keyFile = await unit.newKey(), ...rest } = options;
      const answer = await call(path, { body: await request(keyFile), ...rest });
      const pemFile = await certificates(answer);
      const op: CurlCredential | null = pemFile === null ? null : { keyFile, pemFile };
      return { ...answer, keyFile, op };
    },
    /** What one of strongSwan's other commands writes. */
    pkiBytes: async (args: readonly string[]): Promise<Buffer> =>
      (await run('pki', args, { encoding: 'buffer' })).stdout,
    /** strongSwan's EST clients; `to` is another port, for a proxy in between. */
    pki: (command: '--est' | '--estca', args: readonly string[], to = port): Promise<CommandResult> =>
      runClient('pki', [command, '--url', `https://localhost:${to}`, '--cacert', tlsRoot, ...args]),
  };
}
