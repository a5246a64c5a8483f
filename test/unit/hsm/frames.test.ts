import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  decodeRequests,
  decodeResults,
  encodeRequests,
  encodeResults,
  FrameReader,
} from '../../../src/platform/hsm/frames.js';
import { SIGN_PURPOSES, type SignRequest, type SignResult } from '../../../src/platform/signer.js';

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const request = fc
  .record({
    purpose: fc.constantFrom(...SIGN_PURPOSES),
    keyLabel: fc.stringMatching(/^[a-z0-9-]{1,40}$/),
    name: fc.stringMatching(/^[a-z0-9:]{1,80}$/),
    tbs: bytes,
    evidence: fc.option(bytes, { nil: undefined }),
  })
  .map(({ evidence, ...rest }): SignRequest => (evidence ? { ...rest, evidence } : rest));
const result: fc.Arbitrary<SignResult> = fc.oneof(
  bytes.map((signature): SignResult => ({ ok: true, signature })),
  fc
    .constantFrom('HSM_UNAVAILABLE', 'DENIED', 'RATE_LIMITED')
    .map((code): SignResult => ({ ok: false, code, message: 'why, möglich' })),
);

describe('signer frames', () => {
  test('requests and results come back as they went, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 20 }),
        fc.array(result, { maxLength: 20 }),
        fc.integer({ min: 1, max: 97 }),
        (requests, results, cut) => {
          const stream = Buffer.concat([encodeRequests(7, requests), encodeRequests(8, [])]);
          const reader = new FrameReader(1_000_000);
          const bodies: Buffer[] = [];
          for (let at = 0; at < stream.length; at += cut) bodies.push(...reader.push(stream.subarray(at, at + cut)));
          expect(bodies.map(decodeRequests)).toEqual([
            { id: 7, requests },
            { id: 8, requests: [] },
          ]);
          expect(decodeResults(encodeResults(9, results).subarray(4))).toEqual({ id: 9, results });
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a length above the limit is refused before anything is kept', () => {
    const reader = new FrameReader(1_000);
    expect(() => reader.push(Buffer.from('000003e9', 'hex'))).toThrow('has 1001 bytes');
  });

  test('bytes changed anywhere give another frame or a refusal, never a crash', () => {
    const frame = encodeRequests(1, [
      { purpose: 'crl', keyLabel: 'device-ca-1', name: 'crl:device-ca-1:1', tbs: randomBytes(50) },
    ]).subarray(4);
    for (let at = 0; at < frame.length; at += 1) {
      for (const value of [0x00, 0x7f, 0xff]) {
        const bent = Buffer.from(frame);
        bent[at] = value;
        try {
          decodeRequests(bent);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'BAD_REQUEST' });
        }
      }
    }
  });
});
