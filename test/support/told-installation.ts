/** A whole installation whose story is told act by act by the test, so that it can stop where it wants to interfere. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { ACTS } from '../../src/apps/story/story.js';
import { run } from '../../src/apps/story/tools.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import type { ConfigInput } from '../../src/platform/config/config.js';
import { portSettings, startInstallation, type TestInstallation } from './installation.js';
import { storyContext } from './story-context.js';

const CLI = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));
const CEREMONY = fileURLToPath(new URL('../../hsm-config/ceremony/demo.yaml', import.meta.url));

export interface ToldInstallation {
  readonly installation: TestInstallation;
  /** A fresh unit of its own, and the tools of outsiders. */
  readonly world: World;
  /** Performs acts of the story up to and including this one; throws unless each verdict is as it must be. */
  tellUntil(name: string): Promise<void>;
  /** A further, activated unit with files of its own; the machines are those that there are. */
  another(): Promise<World>;
  close(): Promise<void>;
}

/** The ceremony is held ahead, so that the first start finds its CAs and tells no story of its own. */
export async function toldInstallation(settings: ConfigInput = {}): Promise<ToldInstallation> {
  const dataDir = mkdtempSync(join(tmpdir(), 'fp-inst-'));
  writeFileSync(join(dataDir, 'femtopki.yaml'), stringify({ ...(await portSettings()), ...settings }));
  const held = await run(process.execPath, [CLI, 'ca', 'init', '--ceremony', CEREMONY, '--data', dataDir], {
    cwd: dataDir,
  });
  if (held.code !== 0) throw new Error(`femtopki ca init: ${held.stderr}`);
  const installation = await startInstallation({ dataDir });
  await installation.said('femtopki serves', 240_000);
  const context = storyContext(installation.dataDir);
  const world = await makeWorld(context);
  const tell = async (unit: World, act: (typeof ACTS)[number] | undefined): Promise<void> => {
    await act?.happen(unit);
    const got = await act?.judge(unit);
    if (got !== act?.expected) throw new Error(`${act?.name}: expected ${act?.expected}, got ${got}`);
  };
  let told = 0;
  return {
    installation,
    world,
    tellUntil: async (name) => {
      const until = ACTS.findIndex((act) => act.name === name);
      if (until < 0) throw new Error(`the story has no act ${name}`);
      for (; told <= until; told++) await tell(world, ACTS[told]);
    },
    another: async () => {
      const unit = await makeWorld(context);
      for (const name of ['machines', 'manifest', 'bootstrap', 'activation']) {
        await tell(
          unit,
          ACTS.find((act) => act.name === name),
        );
      }
      return unit;
    },
    close: async () => {
      await context.pool.end();
      await installation.remove();
    },
  };
}
