/**
 * One table of certificates, many verifiers: what OpenSSL, curl and GnuTLS make of our OCSP answers and CRLs (REV-2, REV-3,
 * RFC 6960, RFC 5280 section 5). Each row says what must be said; no verifier may say anything else.
 */
import { sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { assembleCertificate } from '../../src/x509/certificate.js';
import { certificateTemplate } from '../../src/x509/certificate-template.js';
import { crlEntries, readCrl } from '../../src/x509/crl.js';
import { shardOfSerial, shardPart } from '../../src/x509/crl-part.js';
import { pemBlock } from '../../src/x509/pem.js';
import { PROFILES } from '../../src/x509/profiles.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import {
  expectedOf,
  LISTED_KINDS,
  makeStatusCertificates,
  STATUS_KINDS,
  type StatusCertificates,
  type StatusKind,
} from '../support/status-table.js';
import {
  CRL_VERIFIERS,
  DELTA_VERIFIERS,
  OCSP_VERIFIERS,
  type Question,
  type Said,
  SHARD_VERIFIERS,
  type Verifier,
  verifiedCrl,
} from '../support/status-verifiers.js';
import { REALM, type StatusWorld, startStatusWorld, type WorldCertificate } from '../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let beats: NodeJS.Timeout;
let plain: StatusCertificates;
/** Those that name their shard. */
let sharded: StatusCertificates;
let basePem: string;
const SHARDS = 4;

beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  const urlOfDelta = (label: string) => `http://127.0.0.1:8080/crl/${label}.delta.crl`;
  const crls = rooms.publisher({ freshestCrlUrlOf: urlOfDelta });
  const parts = rooms.partsPublisher({ deltas: true, shards: SHARDS });
  plain = await makeStatusCertificates(world, rooms);
  sharded = await makeStatusCertificates(world, rooms, SHARDS);
  await crls.publishDue();
  await parts.publishDue();
  basePem = pemBlock('X509 CRL', readFileSync(join(rooms.crlDir, 'device-ca-1.crl')));
  for (const each of [plain, sharded]) await each.decideAfterBase();
  await crls.publishDue();
  await parts.publishDue();
  writeFileSync(join(rooms.crlDir, 'access-root.crl'), world.rootCrl(world.roots.access));
  await world.beat();
  beats = setInterval(() => void world.beat(), 1_000);
  port = await openStatusPort(world, { dir: rooms.crlDir });
});
afterAll(async () => {
  clearInterval(beats);
  await port?.close();
  rooms?.remove();
  await world?.close();
});

describe.each(STATUS_KINDS)('a certificate that is %s', (kind) => {
  const cases = (how: 'ocsp' | 'crl', verifiers: Readonly<Record<string, Verifier>>): [string, Said, Verifier][] =>
    Object.entries(verifiers).map(([who, verifier]) => [who, expectedOf(kind, how, who), verifier]);

  test.each([...cases('ocsp', OCSP_VERIFIERS), ...cases('crl', CRL_VERIFIERS), ...cases('crl', DELTA_VERIFIERS)])(
    'by %s: %s',
    async (_who, said, verifier) => {
      expect(await verifier(port, questionOf(plain.of[kind]))).toBe(said);
    },
  );

  test.each([...cases('crl', CRL_VERIFIERS), ...cases('crl', SHARD_VERIFIERS)])(
    'that names its shard, by %s: %s',
    async (_who, said, verifier) => {
      expect(await verifier(port, questionOf(sharded.of[kind]))).toBe(said);
    },
  );
});

// Another CA that carries our CA's own name.
test.each([
  ...Object.entries(OCSP_VERIFIERS).map(([who, verifier]) => [who, 'unauthorized', verifier] as const),
  ...Object.entries(CRL_VERIFIERS).map(([who, verifier]) => [who, 'no chain', verifier] as const),
])('a certificate of another issuer, by %s: %s', async (_who, said, verifier) => {
  expect(await verifier(port, foreign())).toBe(said);
});

test.each(Object.entries(SHARD_VERIFIERS))('%s: the shard of others answers nothing', async (_who, verifier) => {
  const { serial } = sharded.of.revoked;
  const question = {
    ...questionOf(sharded.of.revoked),
    shard: shardPart({ count: SHARDS, index: shardOfSerial(serial, SHARDS) ^ 1 }),
  };
  expect(await verifier(port, question)).toBe('no answer');
});

test('the delta says what was decided after its base, and the shards together what the complete CRL says', async () => {
  const both = [plain, sharded];
  const serials = (kinds: readonly StatusKind[]) =>
    kinds.flatMap((kind) => both.map(({ of }) => of[kind].serial.toString('hex'))).sort();
  const listedBy = (name: string) =>
    [...crlEntries(readCrl(readFileSync(join(rooms.crlDir, `${name}.crl`))))].map(({ serial }) =>
      serial.toString('hex'),
    );
  expect(listedBy('device-ca-1.delta').sort()).toEqual(serials(['revoked', 'held', 'released']));
  const shards = Array.from({ length: SHARDS }, (_, index) => listedBy(`device-ca-1.shard-${SHARDS}-${index}`));
  expect(shards.flat().sort()).toEqual(serials(LISTED_KINDS));
});

test('the CRL lists what is held or revoked, expired within one period or not, and nothing else', async () => {
  const text = await verifiedCrl(port, questionOf(plain.of.good));
  const serials = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial]) => serial?.toLowerCase());
  const listed = [plain, sharded].flatMap(({ of }) => LISTED_KINDS.map((kind) => of[kind].serial.toString('hex')));
  expect(serials).toEqual(listed.sort());
});

function questionOf({ der, serial }: Pick<WorldCertificate, 'der' | 'serial'>): Question {
  const { deviceCa, roots } = world;
  const shard = shardPart({ count: SHARDS, index: shardOfSerial(serial, SHARDS) });
  return {
    leafDer: der,
    caDer: deviceCa.certificateDer,
    caLabel: deviceCa.label,
    rootDer: roots.access.certificateDer,
    rootLabel: roots.access.label,
    shard,
    basePem,
  };
}

/** The name and the serial's shape are ours, the key is not. What the CRL verifiers hold is our own chain all the same. */
function foreign(): Question {
  const { deviceCa } = world;
  const key = world.newKey();
  const certify = (profile: 'device-ca' | 'operational', commonName: string, spki: typeof key.spki, serial: number) => {
    const template = certificateTemplate({
      profile: PROFILES[profile],
      issuerSubjectDer: deviceCa.subjectDer,
      issuerKeyIdentifier: key.spki.keyIdentifier,
      issuerSignature: 'ecdsa-with-SHA256',
      operator: 'Hanbit Mobile',
      crlUrl: 'http://127.0.0.1:8080/crl/device-ca-1.crl',
      caUrl: 'http://127.0.0.1:8080/ca/device-ca-1.cer',
      ...(profile === 'operational' ? { ocspUrl: 'http://127.0.0.1:8080/ocsp' } : { nameConstraintDns: REALM }),
    });
    const tbs = template.build({
      serial: Buffer.concat([Buffer.from([1]), Buffer.alloc(15, serial)]),
      subject: { commonName },
      ...(profile === 'operational' && { sanDns: commonName }),
      spki,
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 86_400_000),
    });
    return assembleCertificate(tbs, 'ecdsa-with-SHA256', sign('sha256', tbs, key.privateKey));
  };
  const caDer = certify('device-ca', 'Hanbit Mobile device-ca-1', key.spki, 0x11);
  const leafDer = certify('operational', `020000000001.${REALM}`, world.newKey().spki, 0x12);
  return { ...questionOf({ der: leafDer, serial: Buffer.alloc(16, 0x12) }), ocspCaDer: caDer };
}
