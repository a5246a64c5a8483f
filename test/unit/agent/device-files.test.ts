import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type DeviceFiles, deviceFiles, replaceDurably } from '../../../src/agent/device-files.js';
import { makeFlash } from '../../support/flash.js';

const OLD = Buffer.from('the old state');
const NEW = Buffer.from('the new state, which is longer');

describe('replaceDurably', () => {
  test('on real files: the new content, readable by the owner alone', () => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-files-'));
    const files = deviceFiles(join(dir, 'unit'));
    expect(files.read('state')).toBeNull();
    replaceDurably(files, 'state', OLD);
    replaceDurably(files, 'state', NEW);
    expect(files.read('state')).toEqual(NEW);
    expect(statSync(join(dir, 'unit', 'state')).mode & 0o777).toBe(0o600);
    rmSync(dir, { recursive: true });
  });

  test('the power may go before any of its steps, a thousand times: old or new, never a mixture', () => {
    const seen = new Set<string>();
    for (let run = 0; run < 1_000; run++) {
      const flash = makeFlash(Math.random, { state: OLD });
      try {
        replaceDurably(dyingAfter(flash.mount(), run % 5), 'state', NEW);
      } catch (error) {
        if (!(error instanceof Died)) throw error;
      }
      flash.cut();
      seen.add(flash.content('state')?.toString() ?? 'nothing');
    }
    expect([...seen].sort()).toEqual([NEW.toString(), OLD.toString()]);
  });

  test('without its sync the flash shows the mixture: the drill can fail', () => {
    const seen = new Set<string>();
    for (let run = 0; run < 200; run++) {
      const flash = makeFlash(Math.random, { state: OLD });
      const files = flash.mount();
      files.write('state.new', NEW);
      files.rename('state.new', 'state');
      flash.cut();
      seen.add(flash.content('state')?.toString() ?? 'nothing');
    }
    expect(seen.size).toBeGreaterThan(2);
  });
});

class Died extends Error {}

function dyingAfter(files: DeviceFiles, steps: number): DeviceFiles {
  let left = steps;
  const then = <Args extends unknown[], T>(work: (...args: Args) => T) => {
    return (...args: Args): T => {
      if (left-- <= 0) throw new Died();
      return work(...args);
    };
  };
  return {
    read: files.read,
    write: then(files.write),
    sync: then(files.sync),
    rename: then(files.rename),
    syncDirectory: then(files.syncDirectory),
  };
}
