import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, runClient } from './command.js';
import type { DeviceWorld, WorldUnit } from './device-world.js';

/** Commands of docs/est.md as one script in a unit's own directory, with what the factory leaves there. */
export async function runEstPage(world: DeviceWorld, who: WorldUnit, commands: string): Promise<CommandResult> {
  const flash = join(world.dir, `flash-${who.serialNumber}`);
  mkdirSync(flash);
  for (const name of ['services-root.pem', 'access-root.pem']) copyFileSync(join(world.dir, name), join(flash, name));
  copyFileSync(who.pemFile, join(flash, 'bootstrap.pem'));
  copyFileSync(who.keyFile, join(flash, 'bootstrap.key'));
  const script = commands
    .replaceAll('localhost:8443', `localhost:${world.port}`)
    .replaceAll('XXXX-XXXX-XXXX-XXXX', await world.grant(who));
  return runClient('bash', ['-euo', 'pipefail', '-c', `cd ${flash}\n${script}`]);
}
