import type { ActResult } from './act-result.js';
import type { StoryContext } from './installation-context.js';

/** The life of one femtocell from factory to stolen. No act yet. */
export async function runStory(_context: StoryContext): Promise<ActResult[]> {
  return [];
}
