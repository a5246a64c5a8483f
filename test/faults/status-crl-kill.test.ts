import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { readCrl } from '../../src/x509/crl.js';
import { runClient } from '../support/command.js';
import { openStatusRooms } from '../support/status-rooms.js';
import { startStatusWorld } from '../support/status-world.js';

const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const PUBLISHER = fileURLToPath(new URL('../fixtures/processes/publish-crls-for-ever.ts', import.meta.url));
const FULL_DISK = fileURLToPath(new URL('../fixtures/processes/publish-on-full-disk.ts', import.meta.url));
const ROUNDS = 15;

let scratch: string;
let directory: string;
const paths = (name: string) => join(scratch, name);
const published = () => readFileSync(join(directory, 'device-ca-1.crl'));

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'fp-kill-'));
  directory = paths('crl');
  const world = await startStatusWorld();
  const rooms = openStatusRooms(world);
  const publisher = rooms.publisher();
  await publisher.publishDue();
  const small = readFileSync(join(rooms.crlDir, 'device-ca-1.crl'));
  for (let count = 0; count < 40; count += 1) {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id });
    await rooms.revocation.hold({
      actor: 'system:test',
      personId: null,
      reason: 'certificateHold',
      note: 'to make it larger',
      selection: { by: 'unit', unitId: unit.id },
    });
  }
  await publisher.publishDue();
  const large = readFileSync(join(rooms.crlDir, 'device-ca-1.crl'));
  expect(readCrl(large).entryCount).toBe(40);
  writeFileSync(paths('small'), small);
  writeFileSync(paths('large'), large);
  await makeCrlDirectory(directory).publish('device-ca-1', small);
  rooms.remove();
  await world.close();
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('S3: a publisher killed at any moment', () => {
  test(`SIGKILL ${ROUNDS} times: what lies there is always one whole CRL, and drafts do not pile up`, async () => {
    const whole = [readFileSync(paths('small')), readFileSync(paths('large'))];
    for (let round = 0; round < ROUNDS; round += 1) {
      const child = spawn(
        process.execPath,
        ['--import', LOADER, PUBLISHER, directory, paths('small'), paths('large')],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
          env: { ...process.env, NODE_OPTIONS: '' },
        },
      );
      await new Promise<void>((done, fail) => {
        child.stdout.once('data', () => done());
        child.once('exit', (code) => fail(new Error(`the publisher ended with ${code}`)));
      });
      child.removeAllListeners('exit');
      const gone = new Promise((done) => child.once('exit', done));
      await sleep(round * 2.7);
      child.kill('SIGKILL');
      await gone;
      expect(whole.some((each) => each.equals(published()))).toBe(true);
    }
    const { number } = readCrl(published());
    expect(number).toBeDefined();
    await makeCrlDirectory(directory).publish('device-ca-1', readFileSync(paths('large')));
    expect(readdirSync(directory)).toEqual(['device-ca-1.crl']);
  });
});

describe('S5: a disk that is full', () => {
  test('publishing fails, the old CRL stays whole, nothing is left behind, and with room it goes on', async () => {
    // 64 KiB of disk. Root mounts it in the scratch directory and takes it away again, which works in a chroot too; anybody
    // else gets a mount name space of their own.
    const isRoot = process.getuid?.() === 0;
    const disk = paths('disk');
    const script = [
      `mkdir -p ${disk} && mount -t tmpfs -o size=64k tmpfs ${disk}`,
      `"$0" --import ${LOADER} ${FULL_DISK} ${disk} ${paths('small')} ${paths('large')}`,
    ].join(' && ');
    const shell = ['sh', '-c', isRoot ? `${script}; code=$?; umount ${disk}; exit $code` : script, process.execPath];
    const [program = 'sh', ...args] = isRoot ? shell : ['unshare', '-rm', ...shell];
    const { text } = await runClient(program, args);
    expect(text).toContain('refused: ENOSPC');
    expect(text).toContain('old file whole: true');
    expect(text).toContain('names: device-ca-1.crl filler');
    expect(text).toContain('published after room was made: true');
  });
});
