import { createServer } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { listen } from '../../../src/platform/listen.js';
import { type Probes, startProbes } from '../../../src/platform/probes.js';

const options = { name: 'test', version: '1.2.3', host: '127.0.0.1', port: 0, setting: 'metrics.enrol' };
let probes: Probes;
beforeEach(async () => {
  probes = await startProbes(options);
});
afterEach(() => probes.close());

const get = async (path: string): Promise<{ status: number; text: string }> => {
  const response = await fetch(`http://127.0.0.1:${probes.port}${path}`);
  return { status: response.status, text: await response.text() };
};

describe('probes', () => {
  test('a process is alive at once, ready only when started and every dependency is well', async () => {
    expect((await get('/livez')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(503);
    expect((await get('/startupz')).status).toBe(503);
    probes.markStarted();
    expect((await get('/startupz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    let reason: string | undefined = 'no connection';
    probes.addCheck('database', async () => reason);
    expect(await get('/readyz')).toMatchObject({
      status: 503,
      text: expect.stringContaining('"database":"no connection"'),
    });
    reason = undefined;
    expect(JSON.parse((await get('/readyz')).text)).toEqual({ ready: true, checks: { process: 'ok', database: 'ok' } });
  });

  test('a dependency that throws or never answers is a reason, not a hanging probe', async () => {
    probes.markStarted();
    probes.addCheck('signer', () => new Promise(() => undefined));
    probes.addCheck('queue', () => Promise.reject(new Error('refused')));
    const { status, text } = await get('/readyz');
    expect(status).toBe(503);
    expect(JSON.parse(text).checks).toEqual({ process: 'ok', signer: 'no answer within 2000 ms', queue: 'refused' });
  });

  test('a draining process is alive and not ready', async () => {
    probes.markStarted();
    probes.markDraining();
    expect((await get('/livez')).status).toBe(200);
    expect((await get('/readyz')).text).toContain('draining');
  });

  test('metrics say what runs; other paths and methods change nothing', async () => {
    expect((await get('/metrics')).text).toMatch(
      /femtopki_build_info\{version="1.2.3",node="\d+\.\d+\.\d+",process="test"\} 1/,
    );
    expect((await get('/other')).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${probes.port}/livez`, { method: 'POST' })).status).toBe(405);
  });

  test('a taken port is a sentence that names the setting', async () => {
    await expect(startProbes({ ...options, port: probes.port })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      message: expect.stringContaining('set metrics.enrol (FEMTOPKI_METRICS_ENROL) to a free port'),
    });
  });
});

test('closing a listener lets a request under way finish and cuts one that does not end', async () => {
  let entered: () => void = () => undefined;
  const inside = new Promise<void>((done) => {
    entered = done;
  });
  const server = createServer((request, response) => {
    entered();
    if (request.url === '/slow') setTimeout(() => response.end('done'), 100);
  });
  const listening = await listen(server, { host: '127.0.0.1', port: 0 }, 'listen.enrol.port');
  const base = `http://127.0.0.1:${listening.port}`;
  const slow = fetch(`${base}/slow`).then((response) => response.text());
  const endless = fetch(`${base}/endless`).catch((error: Error) => error.message);
  await inside;
  await new Promise((done) => setTimeout(done, 50));
  await listening.close(400);
  expect(await slow).toBe('done');
  expect(await endless).toBe('fetch failed');
});
