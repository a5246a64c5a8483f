import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bytesOfBase64, pemBlock, pemBlocks } from '../../../src/x509/pem.js';

describe('PEM, RFC 7468', () => {
  test('what is written is read back, with text around and either line ending', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.boolean(), (bytes, windows) => {
        const text = `a remark\n${pemBlock('CERTIFICATE', Buffer.from(bytes))}another\n`;
        const [block, ...others] = pemBlocks(windows ? text.replaceAll('\n', '\r\n') : text);
        expect(block).toEqual({ label: 'CERTIFICATE', der: Buffer.from(bytes) });
        expect(others).toEqual([]);
      }),
    );
  });

  test('several blocks come in order, a commented one is text', () => {
    const text = `${pemBlock('A', Buffer.from('1'))}#${pemBlock('B', Buffer.from('2'))}${pemBlock('C', Buffer.from('3'))}`;
    expect(pemBlocks(text).map(({ label }) => label)).toEqual(['A', 'C']);
  });

  test.each([
    ['no end', '-----BEGIN X-----\nAAAA\n'],
    ['another end', '-----BEGIN X-----\nAAAA\n-----END Y-----\n'],
    ['bad base64', '-----BEGIN X-----\nA===\n-----END X-----\n'],
    ['a letter outside the alphabet', '-----BEGIN X-----\nAA_A\n-----END X-----\n'],
  ])('%s is refused', (_name, text) => {
    expect(() => pemBlocks(text)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('more than a hundred blocks are refused', () => {
    expect(() => pemBlocks(pemBlock('X', Buffer.from('1')).repeat(101))).toThrow(/more than 100/);
  });
});

test('base64 tolerates line breaks and nothing else', () => {
  expect(bytesOfBase64('QU\nJD\r\n', 'x')).toEqual(Buffer.from('ABC'));
  for (const bad of ['', ' ', 'QUJ', 'QUJDRA', 'QUJDRB==', 'QUJD=', 'QU-D', 'QUJD\u0000', '\ufeffQUJD']) {
    expect(() => bytesOfBase64(bad, 'x')).toThrow(/bad base64/);
  }
});
