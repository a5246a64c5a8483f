/** A femtocell made of `curl` and `openssl`: nothing of ours on its side of the wire. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface CurlAnswer {
  readonly status: number;
  readonly headers: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came, or the text of a JWS
  readonly body: any;
}

export interface CurlCredential {
  readonly pemFile: string;
  readonly keyFile: string;
}

export function curlUnit(dir: string, port: number) {
  let count = 0;
  const file = (name: string): string => join(dir, `${name}-${++count}`);
  const openssl = async (...args: string[]): Promise<string> => (await run('openssl', args)).stdout;

  const call = async (
    method: 'GET' | 'POST',
    path: string,
    options: { as?: CurlCredential; json?: unknown; headers?: readonly string[]; flags?: readonly string[] } = {},
  ): Promise<CurlAnswer> => {
    const headerFile = file('headers');
    const { stdout } = await run(
      'curl',
      [
        ...['-sS', '--max-time', '20', '--cacert', join(dir, 'services-root.pem'), '-D', headerFile, '-X', method],
        ...(options.as === undefined ? [] : ['--cert', options.as.pemFile, '--key', options.as.keyFile]),
        ...(options.json === undefined
          ? []
          : ['-H', 'Content-Type: application/json', '--data-binary', JSON.stringify(options.json)]),
        ...(options.headers ?? []).flatMap((header) => ['-H', header]),
        ...(options.flags ?? []),
        ...['-w', '\n%{http_code}', '--resolve', `localhost:${port}:127.0.0.1`, `https://localhost:${port}${path}`],
      ],
      { maxBuffer: 1 << 20 },
    );
    const cut = stdout.lastIndexOf('\n');
    const text = stdout.slice(0, cut);
    const headers = await run('cat', [headerFile]);
    return {
      status: Number(stdout.slice(cut + 1)),
      headers: headers.stdout,
      body: /^content-type: application\/jose/im.test(headers.stdout)
        ? text
        : text.trim() === ''
          ? null
          : JSON.parse(text),
    };
  };

  return {
    call,
    openssl,
    file,
    newKey: async (): Promise<string> => {
      const keyFile = file('key');
      await openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', keyFile);
      return keyFile;
    },
    nonce: async (as: CurlCredential): Promise<string> => {
      const answer = await call('GET', '/v1/nonce', { as });
      if (answer.status !== 200) throw new Error(`no nonce: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body.nonce as string;
    },
    /** `openssl req` with the nonce as challengePassword; returns the path of the DER request. */
    csr: async (keyFile: string, nonce: string | null, subject = '/CN=femtocell'): Promise<string> => {
      const config = file('req.cnf');
      const out = file('csr.der');
      writeFileSync(
        config,
        [
          '[req]',
          'prompt = no',
          'distinguished_name = dn',
          'string_mask = utf8only',
          ...(nonce === null ? [] : ['attributes = attrs']),
          '[dn]',
          `CN = ${subject.replace('/CN=', '')}`,
          ...(nonce === null ? [] : ['[attrs]', `challengePassword = ${nonce}`]),
        ].join('\n'),
      );
      await openssl('req', '-new', '-config', config, '-key', keyFile, '-outform', 'DER', '-out', out);
      return out;
    },
    /** The old key's signature over nonce and request, base64. */
    predecessorSignature: async (keyFile: string, nonce: string, csrFile: string): Promise<string> => {
      const digest = (await openssl('dgst', '-sha256', '-r', csrFile)).slice(0, 64);
      const text = file('text');
      const out = file('sig');
      writeFileSync(text, `femtopki-renew-v1\n${nonce}\n${digest}\n`);
      await openssl('dgst', '-sha256', '-sign', keyFile, '-out', out, text);
      return (await openssl('base64', '-A', '-in', out)).trim();
    },
    base64: async (path: string): Promise<string> => (await openssl('base64', '-A', '-in', path)).trim(),
    store: (name: string, pem: string): string => {
      const path = file(name);
      writeFileSync(path, pem);
      return path;
    },
  };
}
