/** A whole installation whose story is told act by act by the test, so that it can stop where it wants to interfere. */

import { ACTS } from '../../src/apps/story/story.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import type { ConfigInput } from '../../src/platform/config/config.js';
import { startInstallation, type TestInstallation } from './installation.js';
import { storyContext } from './story-context.js';

export interface ToldInstallation {
  readonly installation: TestInstallation;
  /** A fresh unit of its own, and the tools of outsiders. */
  readonly world: World;
  /** Performs acts of the story up to and including this one; throws unless each verdict is as it must be. */
  tellUntil(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Takes about half a minute: the first start tells its own story before it serves. */
export async function toldInstallation(settings: ConfigInput = {}): Promise<ToldInstallation> {
  const installation = await startInstallation({ settings });
  await installation.said('femtopki serves', 240_000);
  const context = storyContext(installation.dataDir);
  const world = await makeWorld(context);
  let told = 0;
  return {
    installation,
    world,
    tellUntil: async (name) => {
      const until = ACTS.findIndex((act) => act.name === name);
      if (until < 0) throw new Error(`the story has no act ${name}`);
      for (; told <= until; told++) {
        const act = ACTS[told];
        await act?.happen(world);
        const got = await act?.judge(world);
        if (got !== act?.expected) throw new Error(`${act?.name}: expected ${act?.expected}, got ${got}`);
      }
    },
    close: async () => {
      await context.pool.end();
      await installation.remove();
    },
  };
}
