import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RecordedMessages {
  /** `ir.request`, `ir.certConf`, `ir.response`…, as `openssl cmp` and its own server wrote them. */
  readonly messages: ReadonlyMap<string, Buffer>;
  /** Certificate that protects the signed requests and every response, DER. */
  readonly protector: Buffer;
  /** Certificate the responses carry, DER. */
  readonly issued: Buffer;
  readonly root: Buffer;
  readonly secret: Buffer;
}

const LEAF = [
  'keyUsage=critical,digitalSignature',
  'subjectAltName=DNS:0012ab345678.femto.hanbit.example',
  'subjectKeyIdentifier=hash',
];

const SERVER =
  '-config empty.cnf -use_mock_srv -batch -srv_cert old.pem -srv_key old.key -srv_trusted root.pem -srv_untrusted root.pem ' +
  '-srv_secret pass:one-time -srv_ref ref -rsp_cert new.pem -rsp_capubs root.pem -rsp_extracerts root.pem -trusted root.pem ' +
  '-recipient /CN=CA -certout got.pem';
const SIGNED = '-cert old.pem -key old.key -extracerts root.pem';
const MAC = '-ref ref -secret pass:one-time';

/** Case → options; the rest of the conversation is what follows from them. */
const CASES: Readonly<Record<string, string>> = {
  ir: `-cmd ir ${SIGNED} -newkey new.key -subject /CN=x`,
  'ir-implicit': `-cmd ir ${SIGNED} -newkey new.key -subject /CN=x -implicit_confirm -grant_implicitconf`,
  'ir-nameless': `-cmd ir ${SIGNED} -newkey new.key`,
  'ir-ra': `-cmd ir ${SIGNED} -newkey new.key -subject /CN=x -popo 0`,
  'ir-no-popo': `-cmd ir ${SIGNED} -newkey new.key -subject /CN=x -popo -1`,
  'ir-pbm': `-cmd ir ${MAC} -newkey new.key -subject /CN=x`,
  'ir-pbm-sha256': `-cmd ir ${MAC} -mac hmacWithSHA256 -newkey new.key -subject /CN=x`,
  cr: `-cmd cr ${SIGNED} -newkey new.key -subject /CN=x -sans 0012ab345678.femto.hanbit.example`,
  'cr-polled': `-cmd cr ${SIGNED} -newkey new.key -subject /CN=x -poll_count 2 -check_after 1`,
  kur: `-cmd kur ${SIGNED} -oldcert new.pem -newkey new.key`,
  p10cr: `-cmd p10cr ${SIGNED} -csr new.csr`,
  rr: `-cmd rr ${SIGNED} -oldcert new.pem -revreason 4`,
  genm: `-cmd genm ${SIGNED} -infotype caCerts`,
};

let recorded: RecordedMessages | undefined;

/** Drives `openssl cmp` against its own server in memory, once a test file. */
export function recordedMessages(): RecordedMessages {
  recorded ??= record();
  return recorded;
}

function record(): RecordedMessages {
  const folder = mkdtempSync(join(tmpdir(), 'cmp-'));
  const openssl = (options: string, mayFail = false): void => {
    try {
      execFileSync('openssl', options.split(' '), { cwd: folder, stdio: 'pipe' });
    } catch (thrown) {
      if (!mayFail) throw thrown;
    }
  };
  try {
    writeFileSync(join(folder, 'leaf.ext'), LEAF.join('\n'));
    writeFileSync(join(folder, 'empty.cnf'), '');
    for (const name of ['root', 'old', 'new']) openssl(`ecparam -name prime256v1 -genkey -noout -out ${name}.key`);
    openssl('req -x509 -key root.key -subj /CN=Demo -days 30 -addext keyUsage=critical,keyCertSign -out root.pem');
    for (const name of ['old', 'new']) {
      openssl(`req -new -key ${name}.key -subj /O=Hanbit/CN=${name} -out ${name}.csr`);
      openssl(`x509 -req -in ${name}.csr -CA root.pem -CAkey root.key -days 9 -extfile leaf.ext -out ${name}.pem`);
    }
    const messages = new Map<string, Buffer>();
    for (const [name, options] of Object.entries(CASES)) {
      const files = (side: string): string => [1, 2, 3, 4].map((turn) => `${name}.${side}${turn}`).join(',');
      // Two cases end in the server's refusal, which is a message like any other.
      openssl(`cmp ${options} ${SERVER} -reqout ${files('request')} -rspout ${files('response')}`, true);
    }
    for (const file of readdirSync(folder).filter((entry) => /\.(request|response)\d$/.test(entry))) {
      messages.set(file, readFileSync(join(folder, file)));
    }
    const der = (name: string): Buffer => {
      openssl(`x509 -in ${name}.pem -outform DER -out ${name}.der`);
      return readFileSync(join(folder, `${name}.der`));
    };
    if (!existsSync(join(folder, 'genm.response1'))) throw new Error('openssl cmp recorded nothing');
    return {
      messages,
      protector: der('old'),
      issued: der('new'),
      root: der('root'),
      secret: Buffer.from('one-time'),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
