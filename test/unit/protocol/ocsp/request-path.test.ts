import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { requestFromPath } from '../../../../src/protocol/ocsp/request-path.js';

describe('OCSP GET paths (RFC 6960 appendix A.1)', () => {
  test('any DER comes back from every spelling that clients and proxies make of it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (body) => {
        const der = Buffer.concat([Buffer.from([0x30]), body]);
        const base64 = der.toString('base64');
        const once = encodeURIComponent(base64);
        const spellings = [
          base64,
          once,
          encodeURIComponent(once),
          `/${base64}`,
          base64.replace(/=+$/, ''),
          once.replace(/%[0-9A-F]{2}/g, (octet) => octet.toLowerCase()),
        ];
        for (const spelling of spellings) expect(requestFromPath(spelling)).toEqual(der);
      }),
    );
  });

  test.each(['', '/', '%', 'MEU%2', '%ff%fe', 'ME U', 'ME*U', 'MEU=A', 'a'.repeat(8_193)])('%j is none', (path) => {
    expect(requestFromPath(path)).toBeUndefined();
  });
});
