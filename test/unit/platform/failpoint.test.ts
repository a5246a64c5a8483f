import { afterEach, describe, expect, test } from '@jest/globals';
import { armFailpoints, failpoint, failpointAfter } from '../../../src/platform/failpoint.js';

afterEach(() => armFailpoints(''));

describe('failpoints', () => {
  test('do nothing until they are armed', async () => {
    await failpoint('after-sign');
    expect(await failpointAfter('issue-commit', async () => 1)).toBe(1);
  });

  test('strike only at their own name', async () => {
    armFailpoints('after-sign:error,after-intent:delay=1');
    await failpoint('after-intent');
    await expect(failpoint('after-sign')).rejects.toThrow('failpoint after-sign');
  });

  test('can wait for the N-th passage and strike from then on', async () => {
    armFailpoints('after-sign@3:error');
    await failpoint('after-sign');
    await failpoint('after-sign');
    await expect(failpoint('after-sign')).rejects.toThrow();
    await expect(failpoint('after-sign')).rejects.toThrow();
  });

  test('lose the answer and keep the effect, or prevent it', async () => {
    let effects = 0;
    const effect = async () => ++effects;
    armFailpoints('issue-commit:ok-then-error');
    await expect(failpointAfter('issue-commit', effect)).rejects.toThrow('the answer was lost');
    expect(effects).toBe(1);
    armFailpoints('issue-commit:error');
    await expect(failpointAfter('issue-commit', effect)).rejects.toThrow();
    expect(effects).toBe(1);
  });

  test('refuse a spec that cannot be read: its test would prove nothing', () => {
    expect(() => armFailpoints('after-sign')).toThrow('cannot read the failpoint');
    expect(() => armFailpoints('after-sign:explode')).toThrow('cannot read the failpoint');
  });
});
