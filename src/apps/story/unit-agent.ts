import type { World } from './world.js';

/** The reference femtocell of the story; its state lies in `unit/`, its current certificate and key are copied out. */
export function unitAgent(world: World): { activate(code: string): Promise<void>; renew(): Promise<void> } {
  void world;
  throw new Error('not yet');
}
