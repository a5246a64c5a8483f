import { describe, expect, test } from '@jest/globals';
import {
  type CertificateFacts,
  certificateTemplate,
  type TemplateInput,
} from '../../../src/x509/certificate-template.js';
import { sequence } from '../../../src/x509/der.js';
import { lintTbs } from '../../../src/x509/lint-certificate.js';
import { certificateName } from '../../../src/x509/parsed-tbs.js';
import {
  type CertificateProfile,
  lifeSeconds,
  notAfterOf,
  PROFILE_NAMES,
  PROFILES,
} from '../../../src/x509/profiles.js';
import { FQDN, factsOf, hierarchy, keyPair, NOW, OPERATOR, REALM, URLS } from './hierarchy.js';

const { deviceCa } = hierarchy();
const key = keyPair();
const issuerSubjectDer = deviceCa.certificate.subjectDer;
const issuerKeyIdentifier = deviceCa.spki.keyIdentifier;
const input = (profile: CertificateProfile): TemplateInput => ({
  profile,
  issuerSubjectDer,
  issuerKeyIdentifier,
  issuerSignature: 'ecdsa-with-SHA256',
  operator: OPERATOR,
  ...(profile.crlUrl === 'required' ? { crlUrl: URLS.crlUrl } : {}),
  ...(profile.ocspUrl === 'required' ? { ocspUrl: URLS.ocspUrl } : {}),
  ...(profile.caUrl === 'required' ? { caUrl: URLS.caUrl } : {}),
  ...(profile.nameConstraints === 'required' ? { nameConstraintDns: REALM } : {}),
});
const facts: CertificateFacts = { ...factsOf('operational', key.spki, FQDN), sanDns: FQDN };
const EXPECTED = { issuerNotAfter: new Date('2046-01-01T00:00:00Z') };
const operational = PROFILES.operational;

describe('every profile passes its own lint at its longest life, and fails one second beyond', () => {
  test.each(PROFILE_NAMES)('%s', (name) => {
    const profile = PROFILES[name];
    const san = profile.san === 'one-dns' || profile.san === 'hosts' ? { sanDns: FQDN } : {};
    const base = { ...factsOf(name, key.spki, FQDN), ...san };
    const template = certificateTemplate(input(profile));
    const wide = { issuerNotAfter: new Date('2100-01-01T00:00:00Z') };
    expect(lifeSeconds(base.notBefore, base.notAfter)).toBe(profile.lifeMaxSeconds);
    expect(lintTbs(template.build(base), profile, wide).profile).toBe(profile);
    const second = { ...base, notAfter: new Date(base.notAfter.getTime() + 1_000) };
    expect(() => lintTbs(template.build(second), profile, wide)).toThrow(
      expect.objectContaining({ code: 'LIFETIME_EXCEEDS_CEILING' }),
    );
  });
});

describe('each rule refuses what it is for', () => {
  const build = (change: Partial<CertificateFacts> = {}, template: Partial<TemplateInput> = {}): Buffer =>
    certificateTemplate({ ...input(operational), ...template }).build({ ...facts, ...change });
  const shape = (change: Partial<CertificateProfile>, template: Partial<TemplateInput> = {}): Buffer =>
    build({}, { profile: { ...operational, ...change }, ...template });

  test.each<[string, () => Buffer, Parameters<typeof lintTbs>[2]?]>([
    ['life-within-ceiling', () => build(), { ...EXPECTED, lifeMaxSeconds: 86_400 }],
    ['life-within-issuer', () => build(), { issuerNotAfter: new Date('2026-11-30T00:00:00Z') }],
    ['serial-length', () => build({ serial: Buffer.from('1234', 'hex') })],
    ['serial-expected', () => build(), { ...EXPECTED, serial: Buffer.alloc(16, 1) }],
    ['signature-algorithm', () => build(), { ...EXPECTED, issuerSignature: 'ecdsa-with-SHA384' }],
    [
      'issuer-name',
      () => build(),
      { ...EXPECTED, issuerSubjectDer: certificateName({ organization: 'X', commonName: 'Y' }) },
    ],
    ['subject-organization', () => build(), { ...EXPECTED, organization: 'Other' }],
    ['subject-common-name', () => build(), { ...EXPECTED, commonName: `11${FQDN}` }],
    ['key-expected', () => build(), { ...EXPECTED, spkiHash: keyPair().spki.spkiHash }],
    ['key-usage', () => shape({ keyUsage: ['digitalSignature', 'keyCertSign'] })],
    ['extended-key-usage', () => shape({ ekus: ['1.3.6.1.5.5.7.3.1'] })],
    ['extended-key-usage', () => shape({ ekus: [] })],
    ['basic-constraints', () => shape({ ca: {} })],
    ['name-constraints', () => shape({}, { nameConstraintDns: REALM })],
    ['subject-alt-name', () => build({ sanDns: [FQDN, `11${FQDN}`] })],
    ['subject-alt-name', () => build({ sanDns: [] })],
    ['subject-alt-name', () => build({ sanDns: `*.${REALM}` })],
    ['subject-alt-name', () => build({ sanDns: FQDN.toUpperCase() })],
    ['subject-alt-name', () => build({ sanDns: `${FQDN}.` })],
    ['subject-alt-name', () => build({ sanDns: FQDN, sanIp: [Buffer.alloc(4, 10)] })],
    ['subject-alt-name', () => build(), { ...EXPECTED, sanDns: [`11${FQDN}`] }],
    ['authority-key-identifier', () => build({}, { issuerKeyIdentifier: Buffer.alloc(0) })],
    ['authority-key-identifier', () => build(), { ...EXPECTED, issuerKeyIdentifier: Buffer.alloc(20) }],
    ['crl-pointer', () => build({}, { crlUrl: 'https://status.hanbit.example/crl' })],
    ['crl-pointer', () => build({}, omitted('crlUrl'))],
    ['ocsp-pointer', () => build({}, omitted('ocspUrl'))],
    ['ca-pointer', () => build({}, omitted('caUrl'))],
    ['ocsp-nocheck', () => shape({ noCheck: true })],
    ['no-other-extension', () => withExtraExtension(build())],
  ])('%s', (rule, tbs, expected = EXPECTED) => {
    expect(() => lintTbs(tbs(), operational, expected)).toThrow(
      expect.objectContaining({ facts: expect.objectContaining({ rule }) }),
    );
  });

  test('a role certificate must carry its role', () => {
    const decision = PROFILES['services-decision'];
    const tbs = certificateTemplate(input(decision)).build({
      ...factsOf('services-decision', key.spki, 'gateway-server'),
      subject: { commonName: 'gateway-server', organizationalUnit: 'time' },
    });
    expect(() => lintTbs(tbs, decision, EXPECTED)).toThrow(/rule subject-role/);
    expect(() => lintTbs(tbs, PROFILES['services-time'], EXPECTED)).not.toThrow();
  });

  test('a Device CA must carry its realm, critical, and no other', () => {
    const profile = PROFILES['device-ca'];
    const ca = { ...factsOf('device-ca', key.spki, 'Device CA 2'), notAfter: notAfterOf(NOW, 86_400) };
    const lint = (template: Partial<TemplateInput>): unknown =>
      lintTbs(certificateTemplate({ ...input(profile), ...template }).build(ca), profile, {
        ...EXPECTED,
        nameConstraintDns: REALM,
      });
    expect(() => lint({})).not.toThrow();
    expect(() => lint({ nameConstraintDns: 'example' })).toThrow(/rule name-constraints/);
    expect(() => lint(omitted('nameConstraintDns'))).toThrow(/rule name-constraints/);
  });

  test('the life ceiling has its own code', () => {
    const long = build({ notAfter: notAfterOf(NOW, 3_650 * 86_400) });
    expect(() => lintTbs(long, operational, EXPECTED)).toThrow(
      expect.objectContaining({ code: 'LIFETIME_EXCEEDS_CEILING' }),
    );
  });
});

function omitted(...names: (keyof TemplateInput)[]): Partial<TemplateInput> {
  return Object.fromEntries(names.map((name) => [name, undefined])) as Partial<TemplateInput>;
}

/** Puts a private extension behind the last one, fixing the three lengths round it. */
function withExtraExtension(tbs: Buffer): Buffer {
  const extra = Buffer.from('300b06042a0304050403020101', 'hex');
  const marker = tbs.indexOf(Buffer.from('a382', 'hex'));
  const head = tbs.subarray(4, marker);
  const list = tbs.subarray(marker + 8);
  const wrapped = sequence(list, extra);
  const explicit = Buffer.concat([Buffer.from('a382', 'hex'), u16(wrapped.length), wrapped]);
  return sequence(head, explicit);
}

function u16(value: number): Buffer {
  const octets = Buffer.alloc(2);
  octets.writeUInt16BE(value);
  return octets;
}
