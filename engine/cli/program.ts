import { type Command, Help, type Option } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import type { AddCommand, Run } from './command.ts';
import { benchmarkCommand } from './commands/benchmark.ts';
import { calibrationCommand } from './commands/calibration.ts';
import { compareCommand } from './commands/compare.ts';
import { devicesCommand } from './commands/devices.ts';
import { downloadCommand, searchCommand } from './commands/download.ts';
import { environmentCommand } from './commands/environment.ts';
import { estimateCommand } from './commands/estimate.ts';
import { exportCommand } from './commands/export.ts';
import { chatCommand, generateCommand } from './commands/generate.ts';
import { historyCommand } from './commands/history.ts';
import { inspectCommand } from './commands/inspect.ts';
import { perplexityCommand } from './commands/perplexity.ts';
import { qualityCommand } from './commands/quality.ts';
import { quantizeCommand, resumeCommand } from './commands/quantize.ts';
import { recipesCommand } from './commands/recipes.ts';
import { verifyCommand } from './commands/verify.ts';
import { DBellCommand } from './dbell-command.ts';
import type { Streams } from './output.ts';
import { runCommand } from './session.ts';

const commands: AddCommand[] = [
  searchCommand,
  downloadCommand,
  inspectCommand,
  estimateCommand,
  calibrationCommand,
  quantizeCommand,
  resumeCommand,
  verifyCommand,
  exportCommand,
  generateCommand,
  chatCommand,
  perplexityCommand,
  qualityCommand,
  compareCommand,
  benchmarkCommand,
  historyCommand,
  recipesCommand,
  devicesCommand,
  environmentCommand,
];

const description = `Calibrates, quantizes, packs, runs and measures language models at one to eight bits a weight.

MODEL is a Hugging Face folder or a .gguf file; PACKAGE is a folder that "dbell quantize" wrote.`;

const closing = `
Exit codes: 0 success, 1 failure with a stated reason, 2 wrong usage,
130 interrupted.
The history of runs is kept in DBELL_HOME. NO_COLOR turns colours off.`;

export function createProgram(streams: Streams, setExitCode: (exitCode: number) => void): Command {
  const program = new DBellCommand('dbell')
    .description(description)
    .version(packageJson.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .configureHelp({
      showGlobalOptions: false,
      sortSubcommands: false,
      optionDescription: withMark,
    } satisfies Partial<Help>)
    .showHelpAfterError('(dbell COMMAND --help explains the command)')
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
    })
    .addHelpText('after', closing)
    .exitOverride();
  const run: Run = async (options, command) => {
    setExitCode(await runCommand(streams, options, command));
  };
  for (const add of commands) add(program, run);
  return program;
}

/** Commander says of an option whether its value is required, not whether it is itself. */
function withMark(option: Option): string {
  const description = new Help().optionDescription(option);
  return option.mandatory ? `required: ${description}` : description;
}
