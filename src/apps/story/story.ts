import type { ActResult } from '../act-result.js';
import type { StoryContext } from '../installation-context.js';
import { type Act, perform } from './act.js';
import { factoryActs } from './factory-acts.js';
import { protocolActs } from './protocol-acts.js';
import { serviceActs } from './service-acts.js';
import { stolenActs } from './stolen-acts.js';
import { makeWorld } from './world.js';

export const ACTS: readonly Act[] = [...factoryActs, ...serviceActs, ...protocolActs, ...stolenActs];

/**
 * The life of one femtocell from factory to stolen, always with a fresh unit, on the paths that production uses. Each act
 * stands on the one before it, so the first that fails ends the story.
 */
export async function runStory(context: StoryContext): Promise<ActResult[]> {
  const world = await makeWorld(context);
  const results: ActResult[] = [];
  for (const act of ACTS) {
    const result = await perform(act, world);
    results.push(result);
    context.report(result);
    if (!result.ok) break;
  }
  return results;
}
