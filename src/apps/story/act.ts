import type { ActResult } from '../act-result.js';
import type { World } from './world.js';

/** One act: something happens, and a tool that is not ours says what came of it. */
export interface Act {
  /** Short and stable: tests name it to break its subject. */
  readonly name: string;
  readonly act: string;
  readonly by: string;
  readonly expected: string;
  /** What happens before the verdict; its failure is the verdict. */
  readonly happen: (world: World) => Promise<void>;
  /** The verdict in the tool's own words, cut to what was expected. */
  readonly judge: (world: World) => Promise<string>;
}

export async function perform(act: Act, world: World): Promise<ActResult> {
  const result = (got: string): ActResult => ({
    act: act.act,
    by: act.by,
    expected: act.expected,
    got,
    ok: got === act.expected,
  });
  try {
    await act.happen(world);
    return result(await act.judge(world));
  } catch (error) {
    world.context.log.error({ err: error, act: act.name }, 'an act of the story broke off');
    return result(`broke off: ${(error as Error).message}`);
  }
}
