import { createHash, randomUUID, sign } from 'node:crypto';
import { connect, createSecureContext, type SecureContext } from 'node:tls';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { certificatePem, pemBlocks } from '../../src/x509/certificate.js';

import { HttpLine, httpRequest, type LineAnswer } from './http-line.js';
import { type LoadUnit, renewed } from './unit.js';

export interface RestServer {
  readonly port: number;
  readonly servicesRootPem: string;
}

/** The unit's TLS identity: the old one can be loaded before the clock runs, the new one cannot. */
export function identityOf(
  { servicesRootPem }: RestServer,
  { certificateDer, key }: Pick<LoadUnit, 'certificateDer' | 'key'>,
): SecureContext {
  return createSecureContext({
    ca: servicesRootPem,
    cert: certificatePem(certificateDer),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
  });
}

/**
 * As a REST unit renews: nonce and renew on one connection under the old certificate, confirm on another under the new one,
 * because its handshake is what proves the new key.
 */
export async function renewByRest(server: RestServer, unit: LoadUnit, identity: SecureContext): Promise<LoadUnit> {
  const old = dialTls(server.port, identity);
  let next: LoadUnit;
  try {
    const { nonce } = readAnswer(await old.ask(httpRequest('GET /v1/nonce', {})));
    const body = Buffer.from(JSON.stringify(renewalOf(unit, String(nonce))));
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
    const { certificate } = readAnswer(await old.ask(httpRequest('POST /v1/renew', headers, body)));
    const [issued] = pemBlocks(String(certificate));
    if (issued === undefined) throw new Error('no certificate came back');
    next = renewed(unit, issued.der);
  } finally {
    old.end();
  }
  const fresh = dialTls(server.port, identityOf(server, next));
  try {
    const { state } = readAnswer(await fresh.ask(httpRequest('POST /v1/confirm', {})));
    if (state !== 'confirmed') throw new Error(`confirm left it ${String(state)}`);
    return next;
  } finally {
    fresh.end();
  }
}

/** The same connections and as many octets, to a server that answers anything: what renewing costs without renewing. */
export async function askAsRest(server: RestServer, identity: SecureContext): Promise<void> {
  const old = dialTls(server.port, identity);
  const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  const sent = [httpRequest('GET /v1/nonce', {}), httpRequest('POST /v1/renew', headers, RENEWAL_SIZED)];
  try {
    for (const request of sent) readAnswer(await old.ask(request));
  } finally {
    old.end();
  }
  const fresh = dialTls(server.port, identity);
  try {
    readAnswer(await fresh.ask(httpRequest('POST /v1/confirm', {})));
  } finally {
    fresh.end();
  }
}

/** As long as a renewal with its request and signature. */
const RENEWAL_SIZED = Buffer.alloc(640, 0x20);

function renewalOf({ fqdn, key, nextKey, nextSpkiDer }: LoadUnit, nonce: string): Record<string, string> {
  const info = certificationRequestInfo({ commonName: fqdn, spkiDer: nextSpkiDer, challengePassword: nonce });
  const csr = assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, nextKey));
  const csrSha256 = createHash('sha256').update(csr).digest('hex');
  const text = Buffer.from(`femtopki-renew-v1\n${nonce}\n${csrSha256}\n`);
  return { csr: csr.toString('base64'), predecessorSignature: sign('sha256', text, key).toString('base64') };
}

function dialTls(port: number, secureContext: SecureContext): HttpLine {
  const options = { port, host: '127.0.0.1', servername: 'localhost', secureContext };
  return new HttpLine(() => connect(options), 'secureConnect');
}

function readAnswer({ status, body }: LineAnswer): Record<string, unknown> {
  if (status !== 200) throw new Error(`HTTP ${status}: ${body.toString('utf8').slice(0, 300)}`);
  return JSON.parse(body.toString('utf8')) as Record<string, unknown>;
}
