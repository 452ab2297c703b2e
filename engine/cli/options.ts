import path from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import {
  type CalibrationSource,
  devicePattern,
  identifierSchema,
  keyValueCacheSchema,
  selfTextDefaults,
  type TextSource,
} from '../contract/common.ts';
import { endpointProblem } from '../contract/endpoint.ts';
import { DBellError } from '../contract/errors.ts';
import { limits } from '../contract/limits.ts';

/** Parsers of option values. What they refuse is wrong usage, exit code 2; the contract checks everything again. */

export function wholeNumber(minimum: number, maximum = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
      const range =
        maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
      throw new InvalidArgumentError(`It must be a whole number ${range}.`);
    }
    return value;
  };
}

export function number(minimum: number, maximum: number) {
  return (text: string): number => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= minimum && value <= maximum)) {
      throw new InvalidArgumentError(`It must be a number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}

/** `128,512` as whole numbers. */
export function wholeNumberList(minimum: number) {
  const parse = wholeNumber(minimum);
  return (text: string): number[] => text.split(',').map(parse);
}

/** One of a few numbers, typed. */
export function oneOf<const T extends number | string>(...allowed: T[]) {
  return (text: string): T => {
    const value = allowed.find((candidate) => String(candidate) === text.trim());
    if (value === undefined) throw new InvalidArgumentError(`Allowed: ${allowed.join(', ')}.`);
    return value;
  };
}

/** What runs a package; the contract's own form. */
export function device(text: string): string {
  if (!devicePattern.test(text)) throw new InvalidArgumentError('Allowed: cpu, gpu, gpu:N, auto.');
  return text;
}

export const keyValueCacheOption = [
  '--kv-cache <type>',
  'keys and values of a package: f32, f16, or on the CPU int8 (default: f32)',
  oneOf(...keyValueCacheSchema.options),
] as const;

export const deviceOption = [
  '--device <device>',
  'what runs a package: cpu, gpu, gpu:N of "dbell devices", or auto: a GPU where there is one (default: cpu)',
  device,
] as const;

/** `key=value`, any number of times. */
export function setting(
  text: string,
  before: { key: string; value: string }[] | undefined,
): { key: string; value: string }[] {
  const separator = text.indexOf('=');
  if (separator < 1) throw new InvalidArgumentError('It must have the form key=value.');
  return [...(before ?? []), { key: text.slice(0, separator), value: text.slice(separator + 1) }];
}

/** An option that may be given several times. */
export function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** A path, made absolute. An empty one, such as an unset shell variable gives, must not become the current folder. */
export function filePath(text: string): string {
  if (text === '') throw new InvalidArgumentError('A path must not be empty.');
  return path.resolve(text);
}

/** Like `collect`, for texts that mean nothing when empty. */
export function collectTexts(text: string, before: string[] | undefined): string[] {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return collect(text, before);
}

/** `bundled:NAME` or a path of a file or folder. */
export function textSource(text: string): TextSource {
  const bundled = /^bundled:(.*)$/.exec(text)?.[1];
  if (bundled === '') throw new InvalidArgumentError('A name must follow "bundled:".');
  return bundled === undefined ? { path: filePath(text) } : { bundled };
}

/** What can be calibrated on: `self` for a text that the model writes itself, else as `textSource`; a file of that name is `./self`. */
export function calibrationSource(text: string): CalibrationSource {
  return text === 'self' ? { self: { ...selfTextDefaults } } : textSource(text);
}

/** `--calibration` with what belongs to it, wherever a calibration is chosen. */
export function withCalibrationOptions(command: Command): Command {
  return command
    .option(
      '--calibration <text>',
      'text file, .jsonl file or folder of texts, bundled:general or bundled:stories, or self: the model writes it itself (default: bundled:general); rtn recipes need none',
      calibrationSource,
    )
    .option(
      '--seed <number>',
      'draw the windows with this seed (default: the first windows of the text); with self: write with it (default: 0)',
      wholeNumber(0, limits.seed),
    )
    .option(
      '--self-temperature <number>',
      `temperature of self-written text (default: ${selfTextDefaults.temperature})`,
      number(0.01, 100),
    )
    .option(
      '--self-top-p <number>',
      `most likely tokens that are drawn from, by their share (default: ${selfTextDefaults.topP})`,
      number(0.01, 1),
    );
}

export interface CalibrationOptions {
  calibration?: CalibrationSource;
  seed?: number;
  selfTemperature?: number;
  selfTopP?: number;
}

/** The calibration that the options ask for. Throws where sampling is described, but nothing is written. */
export function chosenCalibration(options: CalibrationOptions): CalibrationSource {
  const { calibration = { bundled: 'general' }, selfTemperature, selfTopP } = options;
  if ('self' in calibration)
    return {
      self: {
        temperature: selfTemperature ?? calibration.self.temperature,
        topP: selfTopP ?? calibration.self.topP,
      },
    };
  if (selfTemperature !== undefined || selfTopP !== undefined)
    throw new DBellError(
      'invalid-input',
      '--self-temperature and --self-top-p say how the model writes its own text; give --calibration self too',
    );
  return calibration;
}

export function separator(text: string): number | 'none' {
  return text === 'none' ? 'none' : wholeNumber(0)(text);
}

/** A run of the history, by its id or the first characters of it. */
export function runIdentifier(text: string): string {
  if (!identifierSchema.safeParse(text).success)
    throw new InvalidArgumentError(
      'Runs are named by letters, digits, - and _ ("dbell history list" shows them).',
    );
  return text;
}

export function runIdentifiers(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), runIdentifier(text)];
}

/** `--json` and `--events`, the same everywhere. */
export function withOutputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON object on standard output and nothing else')
    .option('--events', 'print JSON Lines: every event, then the result');
}

/** `--network` and `--endpoint`, for what leaves this machine. */
export function withNetworkOptions(command: Command): Command {
  return command
    .option('--network', 'allow the network for this command, as the switch in the settings does for all')
    .option(
      '--endpoint <url>',
      "server to ask (default: the settings', else the Hugging Face Hub)",
      endpoint,
    );
}

function endpoint(text: string): string {
  const problem = endpointProblem(text);
  if (problem !== null) throw new InvalidArgumentError(`It ${problem}.`);
  return text;
}

/** How a text is cut into the windows that are measured. */
export function withWindowOptions(command: Command): Command {
  return command
    .option(
      '--context <tokens>',
      "tokens of a window (default: 2048, or the model's own context if shorter)",
      wholeNumber(2, limits.contextTokens),
    )
    .option('--windows <count>', 'default: all that the text has', wholeNumber(1, limits.windowCount))
    .option(
      '--document-separator <id>',
      'token id before each document, or none (default: the id of <|endoftext|>, else of the beginning of text)',
      separator,
    );
}
