import { PassThrough } from 'node:stream';
import { expect, test } from '@jest/globals';
import { checkChannelBinding } from '../../../../src/protocol/est/channel-binding.js';
import type { KeyRequest } from '../../../../src/x509/key-request.js';

test('a request without challengePassword is bound to nothing; one with it has no right place without TLS', () => {
  expect(() => checkChannelBinding({} as KeyRequest, new PassThrough())).not.toThrow();
  for (const challengePassword of ['', 'undefined', 'MA==']) {
    expect(() => checkChannelBinding({ challengePassword } as KeyRequest, new PassThrough())).toThrow(
      expect.objectContaining({ code: 'POP_FAIL', message: expect.stringContaining('tls-unique') }),
    );
  }
});
