import { createPublicKey, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;

beforeAll(async () => {
  token = await freshToken();
}, 60_000);
afterAll(() => token.dispose());

describe('signer over its sockets, with SoftHSM', () => {
  test('signs an operational certificate that OpenSSL accepts', async () => {
    const issuer = token.entry('device-ca-1');
    const request = leafRequest({ issuer });
    const [result] = await token.connect('enrol').sign([request]);
    expect(result).toMatchObject({ ok: true });
    const key = createPublicKey(issuer.certificatePem);
    expect(result?.ok && verify('sha256', request.tbs, key, result.signature)).toBe(true);
  });
});
