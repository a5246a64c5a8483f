import { describe, expect, test } from '@jest/globals';
import { redisNodes } from '../../../../src/platform/queue/redis-url.js';

describe('a Redis URL', () => {
  test.each([
    ['redis://cache.internal:6379/0', ['redis://cache.internal:6379/0']],
    ['unix:///run/redis.sock', ['unix:///run/redis.sock']],
    [
      'rediss://u:p@a,b:7001,[2001:db8::1]:7002',
      ['rediss://u:p@a', 'rediss://u:p@b:7001', 'rediss://u:p@[2001:db8::1]:7002'],
    ],
  ])('names each node: %s', (text, nodes) => {
    expect(redisNodes(text)).toEqual(nodes);
  });

  test.each([
    'http://a',
    'redis://',
    'redis://a,:7000',
    'redis://a:99999',
    'redis://a/x',
    `redis://${'a,'.repeat(16)}a`,
  ])('is refused in a sentence: %s', (text) => {
    expect(() => redisNodes(text)).toThrow(/^must /);
  });
});
