import { createHash, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { chooseIssuer } from '../../../../src/lifecycle/issuance/choose-issuer.js';
import { makeDrafter } from '../../../../src/lifecycle/issuance/draft-certificate.js';
import type { ApprovedRequest } from '../../../../src/lifecycle/issuance/index.js';
import type { Issuer } from '../../../../src/lifecycle/model/index.js';
import { certificateName } from '../../../../src/x509/distinguished-name.js';
import { parseTbsCertificate } from '../../../../src/x509/parsed-tbs.js';
import { readSpki, type Spki } from '../../../../src/x509/spki.js';

const NOW = new Date('2026-11-24T12:34:56.789Z');

function freshSpki(): Spki {
  return readSpki(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' }));
}

function issuer(id: number, changes: Partial<Issuer> = {}): Issuer {
  const spki = freshSpki();
  return {
    id,
    label: `device-ca-${id}`,
    kind: 'device-ca',
    state: 'active',
    keyLabel: `device-ca-${id}`,
    certificateDer: Buffer.alloc(0),
    subjectDer: certificateName({ organization: 'Hanbit Mobile', commonName: `Device CA ${id}` }),
    keyIdentifier: createHash('sha1').update(spki.keyBits).digest(),
    spkiDer: spki.spkiDer,
    notAfter: new Date('2031-01-01T00:00:00Z'),
    ...changes,
  };
}

const spki = freshSpki();
const request: ApprovedRequest = {
  purpose: 'operational',
  unitId: 1,
  machineId: null,
  commonName: '020000000001.femto.hanbit.example',
  sanDns: '020000000001.femto.hanbit.example',
  spki,
  lifeSeconds: 604_800,
  revocationEpoch: 0,
  successor: { lineageId: 1, generation: 2, preissued: false, displacesSlotId: null },
  actor: 'unit:SN-1',
};

const deps = {
  clock: { now: () => NOW },
  random: (length: number) => Buffer.alloc(length, 0x80),
  operator: 'Hanbit Mobile',
  urlsOf: ({ label }: Issuer) => ({
    crlUrl: `http://status.example/crl/${label}.crl`,
    ocspUrl: 'http://status.example/ocsp',
    caUrl: `http://status.example/ca/${label}.cer`,
  }),
};
const draft = makeDrafter(deps);

describe('a draft', () => {
  test('begins an hour early inside its life, whose last second counts (C5)', () => {
    const { notBefore, notAfter, linted } = draft(request, issuer(1));
    expect(notBefore).toEqual(new Date('2026-11-24T11:34:56Z'));
    expect(notAfter).toEqual(new Date('2026-12-01T11:34:55Z'));
    expect(parseTbsCertificate(linted.tbsDer)).toMatchObject({ notBefore, notAfter });
  });

  test('of the full ceiling is allowed; one second more is refused, not cut', () => {
    const ceiling = 31 * 86_400;
    expect(parseTbsCertificate(draft({ ...request, lifeSeconds: ceiling }, issuer(1)).linted.tbsDer).commonName).toBe(
      request.commonName,
    );
    expect(() => draft({ ...request, lifeSeconds: ceiling + 1 }, issuer(1))).toThrow(
      expect.objectContaining({ code: 'LIFETIME_EXCEEDS_CEILING' }),
    );
  });

  test('never outlives its issuer', () => {
    const notAfter = new Date('2026-11-26T00:00:00Z');
    expect(draft(request, issuer(1, { notAfter })).notAfter).toEqual(notAfter);
  });

  test('advises renewal at two thirds of what is left, ten per cent up or down, and a last moment at nine tenths', () => {
    const { notAfter, renewFrom, renewUntil } = draft(request, issuer(1));
    const share = (at: Date) => (at.getTime() - NOW.getTime()) / (notAfter.getTime() - NOW.getTime());
    expect(share(renewFrom)).toBeGreaterThanOrEqual(0.6);
    expect(share(renewFrom)).toBeLessThanOrEqual(0.7334);
    expect(share(renewUntil)).toBeCloseTo(0.9, 5);
  });

  test('advises it where the configuration says, if it does', () => {
    const early = makeDrafter({ ...deps, renewalSpread: { dueAt: 0.4, jitter: 0 } });
    const { notAfter, renewFrom } = early(request, issuer(1));
    expect((renewFrom.getTime() - NOW.getTime()) / (notAfter.getTime() - NOW.getTime())).toBeCloseTo(0.4, 5);
  });

  test('takes its template from the issuer as it is now', () => {
    const first = issuer(1);
    draft(request, first);
    const reread = { ...first, keyIdentifier: Buffer.alloc(20, 7) };
    expect(parseTbsCertificate(draft(request, reread).linted.tbsDer).aki).toEqual(Buffer.alloc(20, 7));
  });

  test('has attempt ids that are version 4 UUIDs', () => {
    expect(draft(request, issuer(1)).attemptId).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});

describe('the choice of a CA', () => {
  const [one, two, three] = [issuer(1), issuer(2), issuer(3)];

  test('is the same on every server, whatever the order', () => {
    for (let unit = 1; unit <= 500; unit++) {
      expect(chooseIssuer([one, two, three], unit).id).toBe(chooseIssuer([three, one, two], unit).id);
    }
  });

  test('spreads units evenly and moves only a third of them when a third CA goes into use', () => {
    let moved = 0;
    const share = new Map<number, number>();
    for (let unit = 1; unit <= 3_000; unit++) {
      const then = chooseIssuer([one, two], unit).id;
      const now = chooseIssuer([one, two, three], unit).id;
      share.set(now, (share.get(now) ?? 0) + 1);
      if (then !== now) {
        moved++;
        expect(now).toBe(3);
      }
    }
    for (const count of share.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150);
    expect(Math.abs(moved - 1_000)).toBeLessThan(150);
  });

  test('with no active CA says what to do', () => {
    expect(() => chooseIssuer([], 1)).toThrow('finish the key ceremony');
  });
});
