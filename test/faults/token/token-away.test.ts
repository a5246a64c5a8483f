import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Signer } from '../../../src/platform/signer.js';
import { PluggableToken } from '../../support/p11-kit.js';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;
let device: PluggableToken;
let enrol: Signer;

beforeEach(async () => {
  token = await freshToken({ start: false });
  device = new PluggableToken(token);
  enrol = token.connect('enrol');
}, 60_000);
afterEach(async () => {
  device.thaw();
  device.pullOut();
  await token.dispose();
});

async function ask(): Promise<string> {
  const [result] = await enrol.sign([leafRequest({ issuer: token.entry('device-ca-1') })]);
  return result?.ok ? 'ok' : (result?.code ?? 'none');
}

/** Seconds until the signer signs again. */
async function secondsUntilSigned(withinSeconds: number): Promise<number> {
  const startMs = Date.now();
  while ((await ask()) !== 'ok') {
    const seconds = (Date.now() - startMs) / 1_000;
    if (seconds > withinSeconds) throw new Error(`not back after ${seconds} s:\n${token.signerOutput().slice(-3_000)}`);
    await new Promise((wake) => setTimeout(wake, 250));
  }
  return (Date.now() - startMs) / 1_000;
}

function classPids(): string {
  const parent = token.signerProcess()?.pid;
  return readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
}

describe('the token is pulled out (H1)', () => {
  test('rows say HSM_UNAVAILABLE at once; put back, it signs within 15 s in the same processes', async () => {
    await device.plugIn();
    await token.startSigner();
    const before = classPids();
    expect(await ask()).toBe('ok');

    device.pullOut();
    const startMs = Date.now();
    expect(await ask()).toBe('HSM_UNAVAILABLE');
    expect(Date.now() - startMs).toBeLessThan(2_000);
    // Long enough for the back-off to grow.
    await new Promise((wake) => setTimeout(wake, 8_000));
    expect(await ask()).toBe('HSM_UNAVAILABLE');

    await device.plugIn();
    expect(await secondsUntilSigned(15)).toBeLessThan(15);
    expect(classPids()).toBe(before);
    expect(token.signerOutput()).toContain('next try in 4 s');
  }, 60_000);

  test('a signer that starts without its token keeps running and signs when the token comes', async () => {
    await token.startSigner({ waitUntilReady: false });
    await new Promise((wake) => setTimeout(wake, 3_000));
    expect(await ask()).toBe('HSM_UNAVAILABLE');
    expect(token.signerProcess()?.exitCode).toBeNull();
    await device.plugIn();
    expect(await secondsUntilSigned(15)).toBeLessThan(15);
  }, 60_000);
});

describe('the token hangs (H4)', () => {
  test('rows say so within their 5 s, the caller never blocks, and the process is replaced', async () => {
    await device.plugIn();
    await token.startSigner();
    expect(await ask()).toBe('ok');
    const before = classPids().split(' ');

    device.freeze();
    let [longestMs, lastMs] = [0, performance.now()];
    const beat = setInterval(() => {
      const now = performance.now();
      longestMs = Math.max(longestMs, now - lastMs - 10);
      lastMs = now;
    }, 10);
    const startMs = Date.now();
    expect(await ask()).toBe('HSM_UNAVAILABLE');
    clearInterval(beat);
    expect(Date.now() - startMs).toBeLessThan(5_500);
    expect(longestMs).toBeLessThan(200);
    await new Promise((wake) => setTimeout(wake, 2_500));
    expect(token.signerOutput()).toContain('the token does not answer; replacing its process');
    expect(
      classPids()
        .split(' ')
        .filter((pid) => before.includes(pid)).length,
    ).toBeLessThan(3);

    device.thaw();
    expect(await secondsUntilSigned(20)).toBeLessThan(20);
  }, 60_000);
});
