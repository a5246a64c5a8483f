import { EUI_PREFIX, type World } from './world.js';

/** A fresh key and a PKCS#10 request by `openssl req`; a nonce of ours travels as its challengePassword. */
export async function makeRequest(
  world: World,
  name: string,
  options: { nonce?: string; commonName?: string; keepKey?: boolean } = {},
): Promise<void> {
  if (options.keepKey !== true)
    await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  const attributes =
    options.nonce === undefined ? '' : `attributes = attributes\n[attributes]\nchallengePassword = ${options.nonce}\n`;
  world.write(
    `${name}.cnf`,
    `[req]\nprompt = no\nstring_mask = utf8only\ndistinguished_name = name\n${attributes}[name]\nCN = ${options.commonName ?? world.fqdn}\n`,
  );
  const said = await world.sh(
    'openssl',
    'req',
    '-new',
    '-key',
    `${name}.key`,
    '-config',
    `${name}.cnf`,
    '-out',
    `${name}.csr`,
  );
  if (said.code !== 0) throw new Error(`openssl req: ${said.stderr}`);
}

export interface GatewayVerdict {
  /** openssl's word on the signature: `Verified OK` or its error. */
  readonly signature: string;
  readonly verdict: string;
  readonly reasons: readonly string[];
  readonly status: number;
}

/** Asks authorise as the gateway, and lets openssl check the signature with the decision certificate's key and chain. */
export async function askGateway(
  world: World,
  gateway: string,
  certificate: string,
  options: { identity?: string; address?: string } = {},
): Promise<GatewayVerdict> {
  const { stdout: der } = await world.sh(
    'openssl',
    'x509',
    '-in',
    `${certificate}.pem`,
    '-outform',
    'DER',
    '-out',
    `${certificate}.der`,
  );
  if (der !== '') throw new Error(der);
  const { stdout: base64 } = await world.sh('openssl', 'base64', '-A', '-in', `${certificate}.der`);
  const { stdout: nonce } = await world.sh('openssl', 'rand', '-hex', '16');
  const answer = await world.curl(`${world.gatewayUrl}/v1/authorise`, {
    as: gateway,
    body: {
      stage: 'ike',
      certificate: base64.trim(),
      identity: options.identity ?? world.fqdn,
      address: options.address ?? world.address,
      keyProved: true,
      nonce: nonce.trim(),
    },
  });
  if (answer.status !== 200) return { signature: answer.text, verdict: 'none', reasons: [], status: answer.status };
  world.write('decision.json', String(answer.json['decision']));
  world.write('decision.pem', String(answer.json['certificate']));
  await world.sh(
    'sh',
    '-c',
    `printf %s '${String(answer.json['signature'])}' | openssl base64 -d -A -out decision.sig`,
  );
  await world.sh('openssl', 'x509', '-in', 'decision.pem', '-pubkey', '-noout', '-out', 'decision.pub');
  const signed = await world.sh(
    'openssl',
    'dgst',
    '-sha256',
    '-verify',
    'decision.pub',
    '-signature',
    'decision.sig',
    'decision.json',
  );
  const chain = await world.sh(
    'openssl',
    'verify',
    '-purpose',
    'any',
    '-CAfile',
    'services-root.ca.pem',
    '-untrusted',
    'services-ca.ca.pem',
    'decision.pem',
  );
  const decision = JSON.parse(world.read('decision.json')) as { verdict: string; reasons: string[]; nonce: string };
  const fresh = decision.nonce === nonce.trim();
  const ok = chain.stdout.trim().endsWith(': OK') && fresh;
  return {
    signature: ok ? signed.stdout.trim() : `chain or nonce is wrong: ${chain.stderr.trim()}`,
    verdict: decision.verdict,
    reasons: decision.reasons,
    status: 200,
  };
}

/** `Verified OK: deny DEVICE_LOST, …`: the first reason only where one is asked for. */
export function verdictLine({ signature, verdict, reasons }: GatewayVerdict, only?: string): string {
  const shown = only === undefined ? reasons : reasons.filter((reason) => reason === only);
  return `${signature}: ${[verdict, ...shown].join(' ')}`;
}

/** Fetches CRLs of the Device CA and its root, and lets openssl judge certificate, chain and revocation. */
export async function verifyWithCrls(world: World, certificate: string): Promise<string> {
  for (const label of ['device-ca-1', 'access-root']) {
    const fetched = await world.sh(
      'curl',
      '--silent',
      '--show-error',
      '--fail',
      '--max-time',
      '20',
      '-o',
      `${label}.crl`,
      `${world.statusUrl}/crl/${label}.crl`,
    );
    if (fetched.code !== 0) return `curl: ${fetched.stderr.trim()}`;
    await world.sh('openssl', 'crl', '-inform', 'DER', '-in', `${label}.crl`, '-out', `${label}.crl.pem`);
  }
  const said = await world.sh(
    'openssl',
    'verify',
    '-x509_strict',
    '-crl_check_all',
    '-CAfile',
    'access-root.ca.pem',
    '-untrusted',
    'device-ca-1.ca.pem',
    '-CRLfile',
    'device-ca-1.crl.pem',
    '-CRLfile',
    'access-root.crl.pem',
    `${certificate}.pem`,
  );
  if (said.code === 0) return said.stdout.trim();
  return /certificate revoked/.test(said.stderr) ? 'certificate revoked' : said.stderr.trim();
}

/** The word of `openssl ocsp` (with nonce, signature checked) and of GnuTLS `ocsptool` on a certificate. */
export async function askOcsp(world: World, certificate: string): Promise<string> {
  const openssl = await world.sh(
    'openssl',
    'ocsp',
    '-issuer',
    'device-ca-1.ca.pem',
    '-cert',
    `${certificate}.pem`,
    '-url',
    `${world.statusUrl}/ocsp`,
    '-CAfile',
    'access-root.ca.pem',
  );
  const text = `${openssl.stdout}\n${openssl.stderr}`;
  const verified = /Response verify OK/.test(text) ? '' : 'not verified ';
  const word = new RegExp(`^${certificate}\\.pem: (\\w+)`, 'm').exec(text)?.[1] ?? 'no answer';
  await world.sh('sh', '-c', `cat device-ca-1.ca.pem access-root.ca.pem > device-chain.pem`);
  const gnutls = await world.sh(
    'ocsptool',
    `--ask=${world.statusUrl}/ocsp`,
    '--load-issuer',
    'device-ca-1.ca.pem',
    '--load-cert',
    `${certificate}.pem`,
    '--load-trust',
    'device-chain.pem',
  );
  const other =
    /Certificate Status: (\w+)/.exec(gnutls.stdout)?.[1] ??
    /(revoked|good|unknown)/i.exec(gnutls.stdout + gnutls.stderr)?.[1] ??
    'no answer';
  return `openssl: ${verified}${word}; ocsptool: ${other.toLowerCase()}`;
}

/** Ends in 8…f where the story's own units end below: never the same. */
export function secondEui(world: World): string {
  return siblingEui(world, 0x800000);
}

/** The unit that speaks CMP and EST. */
export function thirdUnit(world: World): { serialNumber: string; eui: string; fqdn: string } {
  const eui = siblingEui(world, 0x400000);
  return { serialNumber: `${world.serialNumber}-C`, eui, fqdn: `${eui}.${world.fqdn.split('.').slice(1).join('.')}` };
}

function siblingEui({ eui }: World, bit: number): string {
  return `${EUI_PREFIX}${(bit | Number.parseInt(eui.slice(6), 16)).toString(16)}`;
}

export async function identityOf(world: World, file: string): Promise<{ serial: string; key: string }> {
  const [serial, key] = await Promise.all([
    world.sh('openssl', 'x509', '-in', file, '-noout', '-serial'),
    world.sh('openssl', 'x509', '-in', file, '-noout', '-pubkey'),
  ]);
  return { serial: serial.stdout.trim(), key: key.stdout.trim() };
}
