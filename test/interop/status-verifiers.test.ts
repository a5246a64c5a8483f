/**
 * One table of certificates, many verifiers: what OpenSSL, curl and GnuTLS make of our OCSP answers and CRLs (REV-2, REV-3,
 * RFC 6960, RFC 5280 section 5). Each row says what must be said; no verifier may say anything else.
 */
import { sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { assembleCertificate } from '../../src/x509/certificate.js';
import { certificateTemplate } from '../../src/x509/certificate-template.js';
import { PROFILES } from '../../src/x509/profiles.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import {
  CRL_VERIFIERS,
  OCSP_VERIFIERS,
  type Question,
  type Said,
  type Verifier,
  verifiedCrl,
} from '../support/status-verifiers.js';
import { REALM, type StatusWorld, startStatusWorld, type WorldCertificate } from '../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let beats: NodeJS.Timeout;
const questions = new Map<string, Question>();
/** Serials that must be listed; nothing else may be. */
const listed: string[] = [];

const HOUR_SECONDS = 3_600;
const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_SECONDS * 1_000);
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  await makeCertificates();
  await rooms.publisher().publishDue();
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

interface Row {
  readonly ocsp: Said;
  readonly crl: Said;
  /** Verifiers that see less, by the first word of their name. */
  readonly but?: Readonly<Record<string, Said>>;
}

const TABLE: Readonly<Record<string, Row>> = {
  good: { ocsp: 'good', crl: 'good' },
  revoked: { ocsp: 'revoked', crl: 'revoked' },
  // A CRL verifier does not tell a hold from a revocation, nor does ocsptool: both keep the unit out.
  held: { ocsp: 'held', crl: 'revoked', but: { ocsptool: 'revoked' } },
  released: { ocsp: 'good', crl: 'good' },
  expired: { ocsp: 'good', crl: 'expired' },
  // certtool looks no further than the end of its life.
  'expired, revoked before': { ocsp: 'revoked', crl: 'revoked', but: { certtool: 'expired' } },
  // Signed with our CA's key and recorded nowhere. A verifier that knows only CRLs lets it in (rules 9).
  'never issued': { ocsp: 'never issued', crl: 'good' },
  // Another CA that carries our CA's own name.
  'other issuer': { ocsp: 'unauthorized', crl: 'no chain' },
};

describe.each(Object.entries(TABLE))('a certificate that is %s', (name, { ocsp, crl, but = {} }) => {
  const cases = (verifiers: Readonly<Record<string, Verifier>>, said: Said): [string, Said, Verifier][] =>
    Object.entries(verifiers).map(([who, verifier]) => [who, but[who.split(' ')[0] ?? ''] ?? said, verifier]);

  test.each([...cases(OCSP_VERIFIERS, ocsp), ...cases(CRL_VERIFIERS, crl)])(
    'by %s: %s',
    async (_who, said, verifier) => {
      expect(await verifier(port, questions.get(name) as Question)).toBe(said);
    },
  );
});

test('the CRL lists what is held or revoked, expired within one period or not, and nothing else', async () => {
  const text = await verifiedCrl(port, questions.get('good') as Question);
  const serials = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial]) => serial?.toLowerCase());
  expect(serials).toEqual([...listed].sort());
});

async function makeCertificates(): Promise<void> {
  const made = new Map<string, { unitId: number; certificate: WorldCertificate }>();
  for (const name of ['good', 'revoked', 'held', 'released']) made.set(name, await unitWith({}));
  for (const name of ['expired', 'expired, revoked before'])
    made.set(name, await unitWith({ notBefore: hoursAgo(3), lifeSeconds: 2 * HOUR_SECONDS }));
  const byUnit = (name: string) => ({ by: 'unit', unitId: made.get(name)?.unitId ?? 0 }) as const;

  await rooms.revocation.revoke({ ...kim, selection: byUnit('revoked') });
  await rooms.revocation.hold({ ...kim, selection: byUnit('held') });
  await rooms.revocation.hold({ ...kim, selection: byUnit('released') });
  await rooms.revocation.release({ ...kim, unitId: byUnit('released').unitId });
  const earlier = openStatusRooms(world, { now: () => hoursAgo(2) });
  await earlier.revocation.revoke({ ...kim, selection: byUnit('expired, revoked before') });
  earlier.remove();

  for (const [name, { certificate }] of made) questions.set(name, questionOf(certificate.der));
  for (const name of ['revoked', 'held', 'expired, revoked before'])
    listed.push(made.get(name)?.certificate.serial.toString('hex') ?? '');
  questions.set('never issued', questionOf(await unrecorded()));
  questions.set('other issuer', foreign());
}

async function unitWith(options: { notBefore?: Date; lifeSeconds?: number }) {
  const unit = await world.addUnit();
  return { unitId: unit.id, certificate: await world.issue({ unitId: unit.id, generation: 1, ...options }) };
}

function questionOf(leafDer: Buffer): Question {
  const { deviceCa, roots } = world;
  const { label: caLabel, certificateDer: caDer } = deviceCa;
  return { leafDer, caDer, caLabel, rootDer: roots.access.certificateDer, rootLabel: roots.access.label };
}

/** Its hour has passed, so that the record must hold it if it exists. */
async function unrecorded(): Promise<Buffer> {
  const { der, serial } = await world.issue({ state: 'signing', notBefore: hoursAgo(4) });
  await world.db.pool.query('DELETE FROM issuance_intent WHERE serial = $1', [serial]);
  return der;
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
      notBefore: hoursAgo(1),
      notAfter: new Date(Date.now() + 86_400_000),
    });
    return assembleCertificate(tbs, 'ecdsa-with-SHA256', sign('sha256', tbs, key.privateKey));
  };
  const caDer = certify('device-ca', 'Hanbit Mobile device-ca-1', key.spki, 0x11);
  const leafDer = certify('operational', `020000000001.${REALM}`, world.newKey().spki, 0x12);
  return { ...questionOf(leafDer), ocspCaDer: caDer };
}
