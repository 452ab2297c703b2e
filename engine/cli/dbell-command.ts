import { Command, type ParseOptionsResult } from 'commander';
import { didYouMean } from '../contract/nearest-names.ts';

/**
 * Commander's command with the project's own answer to a mistyped name. What was mistyped is told before what is missing: a required option that was meant by it
 * is no news. The methods without `override` are those that Commander calls for these cases; `cli-usage.test.ts` notices when it stops.
 */
export class DBellCommand extends Command {
  /** What the options known here have left over, from the first unknown one on. */
  #unknown: readonly string[] = [];

  override createCommand(name?: string): Command {
    return new DBellCommand(name);
  }

  override parseOptions(args: string[]): ParseOptionsResult {
    const parsed = super.parseOptions(args);
    this.#unknown = parsed.unknown;
    return parsed;
  }

  unknownOption(flag: string): never {
    const name = flag.replace(/=.*$/s, '');
    const known = this.options.flatMap(({ long }) => (long ? [withoutDashes(long)] : []));
    return this.#refuse('option', name, didYouMean(withoutDashes(name), known, '--'));
  }

  unknownCommand(): never {
    const name = this.args[0] ?? '';
    const known = this.commands.map((command) => command.name());
    return this.#refuse('command', name, didYouMean(name, known));
  }

  missingMandatoryOptionValue(option: { flags: string }): never {
    // Behind `--` stand names, however they begin.
    const end = this.#unknown.indexOf('--');
    const options = end === -1 ? this.#unknown : this.#unknown.slice(0, end);
    const unknown = options.find((argument) => /^--?[a-z]/i.test(argument));
    if (unknown !== undefined) return this.unknownOption(unknown);
    return this.error(`error: required option '${option.flags}' not specified`, {
      code: 'commander.missingMandatoryOptionValue',
    });
  }

  /** `help COMMAND`. */
  _dispatchHelpCommand(name?: string): never {
    if (name === undefined) return this.help();
    const found = this.commands.find((command) => command.name() === name);
    if (found) return found.help();
    this.args = [name];
    return this.unknownCommand();
  }

  #refuse(kind: 'option' | 'command', name: string, proposal: string): never {
    return this.error(`error: unknown ${kind} '${name}'${proposal === '' ? '' : `; ${proposal}`}`, {
      code: kind === 'option' ? 'commander.unknownOption' : 'commander.unknownCommand',
    });
  }
}

function withoutDashes(flag: string): string {
  return flag.replace(/^-+/, '');
}
