import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../../src/x509/certificate.js';
import { sequence } from '../../../src/x509/der.js';
import { certIdOf, ocspIssuerHashes, readOcspResponse } from '../../../src/x509/ocsp.js';
import { readSpki } from '../../../src/x509/spki.js';
import { openStatusPort, opensslOcsp, type StatusPort } from '../../support/status-service.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let port: StatusPort;
let now: Date;
beforeEach(async () => {
  now = new Date();
  world = await startStatusWorld();
  await world.beat(now);
  port = await openStatusPort(world, { clock: { now: () => now } });
});
afterEach(async () => {
  await port.close();
  await world.close();
});

async function ask(serial: Buffer): Promise<{ bytes: Buffer; signerEndsAt: Date | undefined }> {
  const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
  const body = sequence(sequence(sequence(sequence(certIdOf('sha1', sha1, serial).certIdDer))));
  const headers = { 'content-type': 'application/ocsp-request' };
  const response = await fetch(`${port.url}/ocsp`, { method: 'POST', headers, body });
  const bytes = Buffer.from(await response.arrayBuffer());
  const parsed = readOcspResponse(bytes);
  const [der] = parsed.status === 'successful' ? parsed.basic.certs : [];
  return { bytes, signerEndsAt: der && readCertificate(der).notAfter };
}

const openssl = (serial: Buffer, nonce: boolean) =>
  opensslOcsp(port, { ca: world.deviceCa, root: world.roots.access, serial, nonce });

describe('RFC 6960 section 4.2.2.2: the delegate gets its next certificate while the old one is valid', () => {
  test('answers go on across it, old ones from memory and new ones under the new certificate, all verified', async () => {
    const [early, late] = [await world.issue({}), await world.issue({})];
    const first = await ask(early.serial);
    const endsAt = new Date(Math.floor(now.getTime() / 1_000) * 1_000 + 14 * 86_400_000);
    await world.certifyOcspSigner(world.deviceCa, new Date(now.getTime() - 60_000), endsAt);
    await port.service.directory.refresh();
    expect(port.service.directory.troubles()).toEqual([]);
    // What was signed before is as good as it was: clients have its certificate in the answer.
    expect((await ask(early.serial)).bytes).toEqual(first.bytes);
    expect(first.signerEndsAt).not.toEqual(endsAt);
    expect((await ask(late.serial)).signerEndsAt).toEqual(endsAt);
    for (const [serial, nonce] of [
      [early.serial, false],
      [late.serial, false],
      [early.serial, true],
    ] as const) {
      const said = await openssl(serial, nonce);
      expect(said).toContain('Response verify OK');
      expect(said).toContain(': good');
    }
  });

  test('past half their life the old answers are made anew ahead of their end, under the new certificate', async () => {
    const { serial } = await world.issue({});
    await ask(serial);
    expect((await ask(serial)).signerEndsAt).toBeDefined(); // asked for: it is in use
    const endsAt = new Date(Math.floor(now.getTime() / 1_000) * 1_000 + 14 * 86_400_000);
    await world.certifyOcspSigner(world.deviceCa, new Date(now.getTime() - 60_000), endsAt);
    await port.service.directory.refresh();
    now = new Date(now.getTime() + 2_000_000);
    await world.beat(now);
    const signedBefore = world.signed.length;
    await port.service.responder.refreshAhead();
    expect(world.signed.length).toBe(signedBefore + 1);
    expect((await ask(serial)).signerEndsAt).toEqual(endsAt);
    expect(world.signed.length).toBe(signedBefore + 1); // nobody waited for it
  });
});
