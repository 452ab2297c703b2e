import { createInterface } from 'node:readline/promises';
import { type Command, Option } from 'commander';
import type { ActivationBits, KeyValueCache } from '../../contract/common.ts';
import type { GenerationResult, Sampling } from '../../contract/generation.ts';
import { limits } from '../../contract/limits.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatCount, formatDuration, formatSpeed } from '../format.ts';
import {
  collectTexts,
  deviceOption,
  filePath,
  keyValueCacheOption,
  number,
  oneOf,
  wholeNumber,
  withOutputOptions,
} from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { CommandEnd, type CommandSession } from '../session.ts';

interface GenerationOptions extends OutputOptions {
  prompt?: string;
  system?: string;
  tokens?: number;
  greedy?: boolean;
  temperature?: number;
  topP?: number;
  seed?: number;
  context?: number;
  stop?: string[];
  activationBits?: ActivationBits;
  kvCache?: KeyValueCache;
  device?: string;
  threads?: number;
}

/** What most model cards suggest for plain text. */
const defaultSampling = { temperature: 0.8, topP: 0.95, seed: 0 } as const;

function withGenerationOptions(command: Command): Command {
  return command
    .option(
      '--tokens <count>',
      'most tokens to generate (default: 128)',
      wholeNumber(1, limits.generateTokens),
    )
    .addOption(
      new Option('--greedy', 'always take the likeliest token').conflicts(['temperature', 'topP', 'seed']),
    )
    .option(
      '--temperature <value>',
      `flatness of the choice (default: ${defaultSampling.temperature})`,
      number(0.01, 100),
    )
    .option(
      '--top-p <share>',
      `choose among the likeliest tokens that make up this share (default: ${defaultSampling.topP})`,
      number(0.0001, 1),
    )
    .option(
      '--seed <number>',
      `of the choice (default: ${defaultSampling.seed})`,
      wholeNumber(0, limits.seed),
    )
    .option('--stop <text>', 'stop at this text; may be repeated', collectTexts)
    .option(
      '--context <tokens>',
      "room for prompt and answer (default: the model's own)",
      wholeNumber(2, limits.contextTokens),
    )
    .option(
      '--activation-bits <bits>',
      '16, 8, 6 or 4 (default: what a package was made for; 16 for a model)',
      oneOf(16, 8, 6, 4),
    )
    .option(...keyValueCacheOption)
    .option(...deviceOption)
    .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads));
}

function samplingOf({ greedy, temperature, topP, seed }: GenerationOptions): Sampling {
  if (greedy) return { kind: 'greedy' };
  return {
    kind: 'sampled',
    temperature: temperature ?? defaultSampling.temperature,
    topP: topP ?? defaultSampling.topP,
    seed: seed ?? defaultSampling.seed,
  };
}

function settingsOf(model: string, options: GenerationOptions) {
  return {
    model,
    maximumTokens: options.tokens,
    sampling: samplingOf(options),
    activationBits: options.activationBits,
    keyValueCache: options.kvCache,
    context: options.context,
    device: options.device,
    threads: options.threads,
    stop: options.stop,
  };
}

export const generateCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withGenerationOptions(
      program
        .command('generate')
        .description('continue a text')
        .argument('<model>', 'Hugging Face folder, .gguf file or package', filePath)
        .requiredOption('--prompt <text>', 'the text to go on from'),
    ),
  )
    .addHelpText(
      'after',
      `
The text appears as it is generated; the same seed gives the same text.

Examples:
  dbell generate resources/dbell-stories-7m --prompt "One day, a little fox" \\
      --tokens 60 --greedy
  dbell generate packed --prompt "Once" --temperature 0.7 --seed 3 --json`,
    )
    .action((model: string, options: GenerationOptions & { prompt: string }) =>
      run(options, async (session) => {
        const { client, output, followJob } = session;
        const { jobId } = await client.call('generate', {
          ...settingsOf(model, options),
          prompt: options.prompt,
        });
        // With the first text, so that no message of the loading stands in between.
        let shown = false;
        const stream = (text: string) => {
          if (!shown) output.stream(options.prompt);
          shown = true;
          output.stream(text);
        };
        const result = await followJob(jobId, 'generate', stream);
        if (!shown) stream('');
        finish(session, result);
      }),
    );
};

export const chatCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withGenerationOptions(
      program
        .command('chat')
        .description('talk with a model by its own chat template')
        .argument('<model>', 'Hugging Face folder, .gguf file or package', filePath)
        .option('--prompt <text>', 'say this, print the answer and end; without it, a conversation')
        .option('--system <text>', 'what the model is told beforehand'),
    ),
  )
    .addHelpText(
      'after',
      `
In a conversation, an empty line or Ctrl-D ends it.

Examples:
  dbell chat model.gguf --prompt "Name three colours." --greedy
  dbell chat packed --system "Answer in one sentence."`,
    )
    .action((model: string, options: GenerationOptions) =>
      run(options, async (session) => {
        const { client, output, followJob } = session;
        const messages: { role: 'system' | 'user' | 'assistant'; content: string }[] = [];
        if (options.system !== undefined) messages.push({ role: 'system', content: options.system });
        const answer = async (content: string): Promise<GenerationResult> => {
          messages.push({ role: 'user', content });
          const { jobId } = await client.call('chat', {
            ...settingsOf(model, options),
            messages,
            keepLoaded: options.prompt === undefined,
          });
          const result = await followJob(jobId, 'generate', (text) => output.stream(text));
          messages.push({ role: 'assistant', content: result.text });
          return result;
        };
        if (options.prompt !== undefined) {
          finish(session, await answer(options.prompt));
          return;
        }
        await converse(session, answer);
      }),
    );
};

/** Reads a line, answers it, until the input ends or an empty line comes. */
async function converse(
  { output }: CommandSession,
  answer: (content: string) => Promise<GenerationResult>,
): Promise<void> {
  const { stdin, stderr } = output.streams;
  // Prompts go to standard error, so that standard output holds the answers alone.
  const lines = createInterface({
    input: stdin,
    output: stdin.isTTY ? stderr : undefined,
    terminal: stdin.isTTY,
  });
  try {
    if (stdin.isTTY) stderr.write('> ');
    for await (const line of lines) {
      if (line.trim() === '') break;
      const result = await answer(line);
      output.stream('\n');
      if (output.mode !== 'text') output.result(result, () => '');
      if (result.finishReason === 'stopped') break;
      if (stdin.isTTY) stderr.write('> ');
    }
  } finally {
    lines.close();
  }
}

function finish({ output }: CommandSession, result: GenerationResult): void {
  output.stream('\n');
  output.result(result, () => '');
  const speed = result.decodeTokensPerSecond === null ? '' : `, ${formatSpeed(result.decodeTokensPerSecond)}`;
  const first =
    result.timeToFirstTokenMs === null
      ? ''
      : `, first token after ${formatDuration(result.timeToFirstTokenMs)}`;
  if (output.mode === 'text') {
    output.message(
      `[${formatCount(result.tokenIds.length)} tokens${speed}${first}; ${result.kernelPath}${result.device === 'cpu' ? '' : ` on ${result.device}`}, activations ${result.activationBits} bits${result.keyValueCache === undefined ? '' : `, cache ${result.keyValueCache}`}; ${finishWords[result.finishReason]}]`,
    );
  }
  if (result.finishReason === 'stopped') throw new CommandEnd(exitCodes.interrupted);
}

const finishWords: Record<GenerationResult['finishReason'], string> = {
  'end-of-text': 'the model ended the text',
  'stop-text': 'a stop text came',
  length: 'the length asked for',
  context: 'the context is full',
  stopped: 'stopped',
};
