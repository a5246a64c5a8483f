/** A worker that publishes once and dies where its failpoints say; the signer that answers it outlives it. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Signer, SignRequest } from '../../src/platform/signer.js';

const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const WORKER = fileURLToPath(new URL('../fixtures/processes/publish-once.ts', import.meta.url));

/** @returns how it ended */
export async function dyingPublisher(
  what: 'complete' | 'parts',
  world: { readonly url: string; readonly crlDir: string; readonly signer: Signer },
  failpoints: string,
): Promise<NodeJS.Signals | number | null> {
  const child = fork(WORKER, [what, world.url, world.crlDir, failpoints], {
    execArgv: ['--import', LOADER],
    env: { ...process.env, NODE_OPTIONS: '' },
    serialization: 'advanced',
  });
  child.on('message', (requests) => {
    const asked = (requests as SignRequest[]).map((request) => ({ ...request, tbs: Buffer.from(request.tbs) }));
    void world.signer.sign(asked).then((results) => child.connected && child.send(results));
  });
  return new Promise((done) => child.once('exit', (code, signal) => done(signal ?? code)));
}
