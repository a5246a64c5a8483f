import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { World } from './world.js';

/** The reference femtocell of the story: its flash is `unit/`, and after each step its certificate and key are copied out. */
export function unitAgent(world: World): { activate(code: string): Promise<void>; renew(): Promise<void> } {
  return {
    activate: async (code) => {
      mkdirSync(world.path('unit'), { mode: 0o700 });
      await provision(world);
      world.write('unit/code', code);
      // Straight from the box: no clock, so it asks the time with a nonce and checks who signed the answer.
      await runAgent(world, ['--code-file', world.path('unit/code')], ['faketime', '-f', '1970-01-02 00:00:00']);
    },
    renew: () => runAgent(world, ['--renew-now'], []),
  };
}

/** What the factory leaves on a unit: its identity and the two roots it pins. */
async function provision(world: World): Promise<void> {
  for (const [from, to] of [
    ['bootstrap.pem', 'bootstrap.pem'],
    ['bootstrap.key', 'bootstrap.key'],
    ['services-root.ca.pem', 'services-root.pem'],
    ['access-root.ca.pem', 'access-root.pem'],
  ] as const) {
    await world.sh('cp', from, join('unit', to));
  }
}

async function runAgent(world: World, options: readonly string[], clock: readonly string[]): Promise<void> {
  const program = fileURLToPath(new URL('../../../dist/agent/main.js', import.meta.url));
  const command = [
    ...clock,
    process.execPath,
    program,
    '--dir',
    world.path('unit'),
    '--enrol',
    world.enrolUrl,
    '--status',
    world.statusUrl,
    '--once',
    ...options,
  ];
  const [executable = '', ...args] = command;
  const said = await world.sh(executable, ...args);
  if (said.code !== 0)
    throw new Error(`the unit: ${said.stdout.trim()} ${said.stderr.trim().split('\n').at(-1) ?? ''}`);
  await world.sh('cp', 'unit/operational.pem', 'unit.pem');
  await world.sh('cp', 'unit/operational.key', 'unit.key');
}
