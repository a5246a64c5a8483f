import type { Command } from 'commander';
import { callAndPrint, query, withExamples } from './command-context.js';

/** feed. */
export function addFeedCommands(program: Command): void {
  const feed = program.command('feed').description('what gateways have heard of revocations');
  withExamples(
    feed
      .command('status')
      .description('which gateways have received and enforced the newest revocation, hold or release')
      .option('--serial <hex>', 'the newest about this certificate serial number')
      .action((options: { serial?: string }, command: Command) =>
        callAndPrint(command, { method: 'GET', path: `/feed${query(options)}` }),
      ),
    'feed status',
    'feed status --serial 019a3c0d5e7f8a1b2c3d4e5f60718293 -o json',
  );
}
