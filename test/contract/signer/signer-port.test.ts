/** Servers on other hosts: the mTLS port of the signer, where the proved key gives the role. */
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { dialHosts, type SignerPlace } from '../../../src/platform/hsm/dial-signer.js';
import {
  type LinkIdentity,
  makeLinkKey,
  openLinkIdentity,
  readLinkKey,
} from '../../../src/platform/hsm/link-identity.js';
import { connectSigner } from '../../../src/platform/hsm/signer-client.js';
import type { Signer, SignerRole, SignResult } from '../../../src/platform/signer.js';
import { run } from '../../support/command.js';
import { freePorts } from '../../support/ports.js';
import { crlRequest, leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;
let other: FreshToken;
let port: number;
let otherPort: number;
const places: SignerPlace[] = [];
const opened: Signer[] = [];
const identities = new Map<string, LinkIdentity>();

beforeAll(async () => {
  [port = 0, otherPort = 0] = await freePorts(2);
  [token, other] = await Promise.all([freshToken({ start: false }), freshToken({ start: false })]);
  for (const name of ['enrol', 'worker', 'stranger']) identities.set(name, identityIn(token, name));
  const clients = (['enrol', 'worker'] as const).map((role) => ({
    name: `${role}-1`,
    role,
    spkiSha256: identity(role).spkiSha256,
  }));
  for (const [of, its] of [
    [token, port],
    [other, otherPort],
  ] as const) {
    const keyFile = join(of.dataDir, 'link.key');
    makeLinkKey(keyFile);
    of.configure((config) => {
      config.listen = { host: '127.0.0.1', port: its, keyFile, clients };
    });
    places.push({ host: '127.0.0.1', port: its, spkiSha256: readLinkKey(keyFile).spkiSha256 });
  }
  await Promise.all([token.startSigner(), other.startSigner()]);
}, 60_000);
afterAll(async () => {
  for (const signer of opened) await signer.close();
  await Promise.all([token?.dispose(), other?.dispose()]);
});

function identity(name: string): LinkIdentity {
  const found = identities.get(name);
  if (found === undefined) throw new Error(`no identity ${name}`);
  return found;
}

function identityIn(of: FreshToken, name: string): LinkIdentity {
  const path = join(of.dataDir, `${name}.key`);
  expect(makeLinkKey(path)).toBe(true);
  expect(makeLinkKey(path)).toBe(false);
  return openLinkIdentity(path);
}

function signerAt(name: string, role: SignerRole, at: readonly SignerPlace[] = places.slice(0, 1)): Signer {
  const signer = connectSigner({ runDir: '/nowhere', role, dial: dialHosts(at, identity(name)), deadlineMs: 5_000 });
  opened.push(signer);
  return signer;
}

const leaf = () => leafRequest({ issuer: token.entry('device-ca-1') });
const outcomes = (results: readonly SignResult[]): string[] =>
  results.map((result) => (result.ok ? 'signed' : result.code));

describe('a server on another host', () => {
  test('has a thousand leaves signed in one call, each verified as those of this host are', async () => {
    const requests = Array.from({ length: 1_000 }, leaf);
    const results = await signerAt('enrol', 'enrol').sign(requests);
    expect(new Set(outcomes(results))).toEqual(new Set(['signed']));
  });

  test('gets its role from the key it proves, whatever it calls itself', async () => {
    // The worker's key, and a client that believes it is enrol-server: the far end knows better.
    expect(outcomes(await signerAt('worker', 'enrol').sign([leaf()]))).toEqual(['DENIED']);
    const crl = crlRequest({ issuer: token.entry('device-ca-1'), number: 1_000n });
    expect(outcomes(await signerAt('enrol', 'worker').sign([crl]))).toEqual(['DENIED']);
    expect(outcomes(await signerAt('worker', 'worker').sign([crl]))).toEqual(['signed']);
  });

  test('is turned away where its key is not in the signer’s file, and the signer says so', async () => {
    expect(outcomes(await signerAt('stranger', 'enrol').sign([leaf()]))).toEqual(['HSM_UNAVAILABLE']);
    expect(token.signerOutput()).toContain('a caller was turned away');
  });

  test('asks nobody who proves another key than the one it was told', async () => {
    const impostor = [{ host: '127.0.0.1', port, spkiSha256: randomBytes(32).toString('hex') }];
    const [result] = await signerAt('enrol', 'enrol', impostor).sign([leaf()]);
    expect(result).toMatchObject({
      ok: false,
      code: 'HSM_UNAVAILABLE',
      message: expect.stringContaining('another key'),
    });
  });

  test('goes on with the next signer when the first is gone, and with the first again when the next one is', async () => {
    const signer = signerAt('enrol', 'enrol', places);
    const both = [leaf(), leafRequest({ issuer: other.entry('device-ca-1') })];
    const first = outcomes(await signer.sign(both));
    await token.stopSigner();
    await untilSigned(signer, [leafRequest({ issuer: other.entry('device-ca-1') })]);
    await token.startSigner();
    await other.stopSigner();
    await untilSigned(signer, [leaf()]);
    expect(first).toContain('signed');
  }, 60_000);
});

describe('the port', () => {
  test('speaks TLS 1.3 only, and to nobody without a certificate or a class', async () => {
    const old = run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2', '-brief']);
    expect(old.code).not.toBe(0);
    for (const options of [
      {},
      { key: identity('enrol').keyPem, cert: identity('enrol').certificatePem },
      {
        key: identity('enrol').keyPem,
        cert: identity('enrol').certificatePem,
        ALPNProtocols: ['femtopki-signer-audit'],
      },
    ]) {
      expect(await isClosed(options)).toBe(true);
    }
  });

  test('shows the key that link-key printed', async () => {
    const pem = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.toString() ?? '');
        socket.destroy();
      });
      socket.on('error', reject);
    });
    const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
    expect(createHash('sha256').update(spki).digest('hex')).toBe(places[0]?.spkiSha256);
  });

  test('does not open with a key file that others may read', async () => {
    const keyFile = join(other.dataDir, 'link.key');
    chmodSync(keyFile, 0o644);
    await other.stopSigner();
    const { code, output } = other.tryStart();
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining('may be read by others') });
    expect(readFileSync(keyFile, 'utf8')).toContain('PRIVATE KEY');
  });
});

function isClosed(options: object): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(true));
    socket.setTimeout(5_000, () => {
      resolve(false);
      socket.destroy();
    });
  });
}

async function untilSigned(signer: Signer, requests: Parameters<Signer['sign']>[0]): Promise<void> {
  for (let tries = 0; ; tries++) {
    const said = outcomes(await signer.sign(requests));
    if (said.every((outcome) => outcome === 'signed')) return;
    if (tries === 100) throw new Error(`still ${said.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
