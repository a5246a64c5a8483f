import { Command, CommanderError, Option } from 'commander';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { addAlarmCommands } from './alarm-commands.js';
import { addCampaignCommands } from './campaign-commands.js';
import { EXIT, EXIT_HELP, exitCodeOf } from './exit-codes.js';
import { addFactoryCommands } from './factory-commands.js';
import { addFeedCommands } from './feed-commands.js';
import { addFleetCommands } from './fleet-commands.js';
import { addKeyCommands } from './key-commands.js';
import { addNetworkCommands } from './network-commands.js';
import { addOfflineCommands, type OfflineTools } from './offline-commands.js';
import { addRegistryCommands } from './registry-commands.js';
import { addServiceCommands } from './service-commands.js';
import { addUnitCommands } from './unit-commands.js';
import { addVendorCommands } from './vendor-commands.js';

/** The CLI: noun, verb. Data on standard output, everything else on standard error. */
export function femtopkiProgram(tools: OfflineTools, version: string): Command {
  const program = new Command('femtopki')
    .description('Per-device PKI for femtocells')
    .version(version)
    .addOption(
      new Option('-o, --output <format>', 'how data is printed').choices(['table', 'json', 'yaml']).default('table'),
    )
    .option('--data <dir>', 'data directory', './data')
    .option('--server <url>', 'operator API', 'http://127.0.0.1:8090')
    .option('--as <person>', 'whose credential and key from the data directory', 'operator')
    .option('--dry-run', 'say what would be sent, and send nothing', false)
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('afterAll', `\n${EXIT_HELP}`)
    .exitOverride();
  addServiceCommands(program);
  addFactoryCommands(program);
  addFeedCommands(program);
  addNetworkCommands(program);
  addAlarmCommands(program);
  addRegistryCommands(program);
  addVendorCommands(program);
  addUnitCommands(program);
  addFleetCommands(program);
  addCampaignCommands(program);
  addKeyCommands(program);
  addOfflineCommands(program, tools);
  return overrideExit(program);
}

/** Runs one command line; resolves with the exit code. */
export async function runFemtopki(program: Command, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? EXIT.done);
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.done : EXIT.usage;
    const error = asFemtoError(thrown);
    const sentence = thrown instanceof FemtoError ? thrown.message : String((thrown as Error).stack);
    process.stderr.write(`${error.code}: ${sentence}\n`);
    return exitCodeOf(error.code);
  }
}

function overrideExit(command: Command): Command {
  for (const child of command.commands) overrideExit(child.exitOverride());
  return command;
}
