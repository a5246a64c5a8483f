import type { ActResult } from '../act-result.js';
import type { StoryContext } from '../installation-context.js';
import { perform, type Sabotage } from './act.js';
import { factoryActs } from './factory-acts.js';
import { serviceActs } from './service-acts.js';
import { stolenActs } from './stolen-acts.js';
import { makeWorld } from './world.js';

const ACTS = [...factoryActs, ...serviceActs, ...stolenActs];

export const ACT_NAMES: readonly string[] = ACTS.map(({ name }) => name);

/**
 * The life of one femtocell from factory to stolen, always with a fresh unit, on the paths that production uses. Each act
 * stands on the one before it, so the first that fails ends the story.
 */
export async function runStory(context: StoryContext, sabotage?: Sabotage): Promise<ActResult[]> {
  const world = await makeWorld(context);
  const results: ActResult[] = [];
  for (const act of ACTS) {
    const result = await perform(act, world, sabotage);
    results.push(result);
    context.report(result);
    if (!result.ok) break;
  }
  return results;
}
