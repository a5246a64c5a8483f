import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readLeafTbs, timeMs } from '../../../src/platform/hsm/leaf-tbs.js';
import { certificateTemplate } from '../../../src/x509/certificate-template.js';
import { certificateName } from '../../../src/x509/distinguished-name.js';
import { type ParsedTbs, parseTbsCertificate } from '../../../src/x509/parsed-tbs.js';
import { notAfterOf, PROFILES } from '../../../src/x509/profiles.js';
import { newSerial } from '../../../src/x509/serial.js';
import { readSpki } from '../../../src/x509/spki.js';

const now = new Date('2026-11-24T12:00:00Z');
const tbs = certificateTemplate({
  profile: PROFILES.operational,
  issuerSubjectDer: certificateName({ organization: 'Hanbit Mobile', commonName: 'Device CA 1' }),
  issuerKeyIdentifier: Buffer.alloc(20, 7),
  issuerSignature: 'ecdsa-with-SHA256',
  operator: 'Hanbit Mobile',
  crlUrl: 'http://pki.example/crl/device-ca-1.crl',
  ocspUrl: 'http://pki.example/ocsp',
  caUrl: 'http://pki.example/ca/device-ca-1.cer',
}).build({
  serial: newSerial(now, randomBytes),
  subject: { commonName: '020000000001.femto.hanbit.example' },
  sanDns: '020000000001.femto.hanbit.example',
  spki: readSpki(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' })),
  notBefore: now,
  notAfter: notAfterOf(now, 604_800),
});

/** The issuing side's strict parser as the other opinion; undefined where it refuses. */
function secondOpinion(der: Buffer): ParsedTbs | undefined {
  try {
    return parseTbsCertificate(der);
  } catch (thrown) {
    expect(['BAD_REQUEST', 'KEY_WEAK']).toContain((thrown as { code?: string }).code);
    return undefined;
  }
}

function compare(der: Buffer): 'both' | 'refused' | 'signer only' {
  const strict = secondOpinion(der);
  let own: ReturnType<typeof readLeafTbs>;
  try {
    own = readLeafTbs(der);
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: 'Refusal', code: 'BAD_REQUEST' });
    // Never the other way round: what the issuing side takes for a certificate, the signer can read.
    if (strict && strict.extensions.length > 0) throw new Error(`refused here alone: ${der.toString('hex')}`);
    return 'refused';
  }
  if (!strict) return 'signer only';
  expect(own.serial).toEqual(strict.serial);
  expect(own.issuerDer).toEqual(strict.issuerDer);
  expect(own.subjectDer).toEqual(strict.subjectDer);
  expect(own.spkiDer).toEqual(strict.spki.spkiDer);
  expect([own.notBeforeMs, own.notAfterMs]).toEqual([strict.notBefore.getTime(), strict.notAfter.getTime()]);
  expect([...own.extensions.values()]).toEqual(strict.extensions.map(({ critical, value }) => ({ critical, value })));
  return 'both';
}

describe("the signer's own reading of a TBS agrees with the issuing side's", () => {
  test('on an honest certificate', () => expect(compare(tbs)).toBe('both'));

  test('on every single changed byte', () => {
    const seen = { both: 0, refused: 0, 'signer only': 0 };
    for (let at = 0; at < tbs.length; at += 1) {
      for (const change of [0x01, 0x80, 0xff]) {
        const bent = Buffer.from(tbs);
        bent[at] = (bent[at] ?? 0) ^ change;
        seen[compare(bent)] += 1;
      }
    }
    // Each outcome is well represented, or this test has stopped testing.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(50);
  });

  test('on pieces cut out, doubled and put in', () => {
    const edit = fc.record({ at: fc.nat(tbs.length - 1), cut: fc.nat(40), put: fc.uint8Array({ maxLength: 20 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let bent: Buffer = tbs;
        for (const { at, cut, put } of edits)
          bent = Buffer.concat([bent.subarray(0, at), put, bent.subarray(at + cut)]);
        compare(bent);
      }),
      { numRuns: 500 },
    );
  });
});

test.each([
  ['170d3236313132343132303030305a', '2026-11-24T12:00:00.000Z'],
  ['170d3439313233313233353935395a', '2049-12-31T23:59:59.000Z'],
  ['180f32303530303130313030303030305a', '2050-01-01T00:00:00.000Z'],
  ['170d3238303232393030303030305a', '2028-02-29T00:00:00.000Z'],
])('time %s is %s', (hex, iso) => {
  const der = Buffer.from(hex, 'hex');
  expect(new Date(timeMs(der[0] ?? 0, der.subarray(2))).toISOString()).toBe(iso);
});

test.each([
  '170d3237303232393030303030305a',
  '170d3236313333343132303030305a',
  '170d32363131323431323030303030',
  '170b323631313234313230305a',
  '170d3236313132343132363030305a',
])('time %s is refused', (hex) => {
  const der = Buffer.from(hex, 'hex');
  expect(() => timeMs(der[0] ?? 0, der.subarray(2))).toThrow('has a');
});
