import { sign } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { certify, jwsBy, kitModule, type Party } from './kit.js';

const { makeTrust } = await kitModule('trust');
const TEXT = '{"verdict":"permit"}';

let root: Party;
let ca: Party;
let decision: Party;
let station: Party;

beforeAll(async () => {
  root = await certify('CN=Services Root');
  ca = await certify('CN=Services CA', root);
  decision = await certify('OU=decision, CN=decision-1', ca);
  station = await certify('OU=station, CN=station-1', ca);
});

describe('what the connector believes', () => {
  test('a decision under a decision key that chains to the Services Root', () => {
    expect(trust().decision(TEXT, signed(decision), decision.pem)).toEqual({ verdict: 'permit' });
  });

  test('no decision with another text, or a signature with one bit changed', () => {
    expect(() => trust().decision(`${TEXT} `, signed(decision), decision.pem)).toThrow('the signature does not hold');
    const changed = signed(decision);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect(() => trust().decision(TEXT, changed, decision.pem)).toThrow('the signature does not hold');
  });

  test('no decision under another role of the same CA, however well signed', () => {
    expect(() => trust().decision(TEXT, signed(station), station.pem)).toThrow('no decision key');
  });

  test('no decision under a CA of another root, although it has the same name', async () => {
    const otherRoot = await certify('CN=Services Root');
    const otherCa = await certify('CN=Services CA', otherRoot);
    const other = await certify('OU=decision, CN=decision-1', otherCa);
    expect(() => trust().decision(TEXT, signed(other), other.pem)).toThrow('no CA of "intermediates" vouches for');
    expect(() => trust({ intermediatesPem: otherCa.pem }).decision(TEXT, signed(other), other.pem)).toThrow(
      'the Services Root does not vouch for',
    );
  });

  test('no decision under a certificate whose time is over', () => {
    const now = () => Date.now() + 2 * 86_400_000;
    expect(() => trust({ now }).decision(TEXT, signed(decision), decision.pem)).toThrow('outside its life');
  });

  test('a page of the feed as ES256, and neither "none" nor another type', () => {
    expect(trust().page(jws('ES256', 'femtopki-feed+jws'))).toEqual({ verdict: 'permit' });
    expect(() => trust().page(jws('none', 'femtopki-feed+jws'))).toThrow('no femtopki-feed+jws');
    expect(() => trust().page(jws('ES256', 'femtopki-snapshot+jws'))).toThrow('no femtopki-feed+jws');
    expect(() => trust().page(`${jws('ES256', 'femtopki-feed+jws').slice(0, -4)}AAAA`)).toThrow('does not hold');
  });
});

function trust(options: { intermediatesPem?: string; now?: () => number } = {}) {
  return makeTrust({ rootPem: root.pem, intermediatesPem: ca.pem, ...options });
}

function signed({ key }: Party): Buffer {
  return sign('sha256', Buffer.from(TEXT), key);
}

const jws = (alg: string, type: string) => jwsBy(decision, { alg, type, text: TEXT });
