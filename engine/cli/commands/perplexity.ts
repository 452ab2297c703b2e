import type { KeyValueCache, TextSource } from '../../contract/common.ts';
import { limits } from '../../contract/limits.ts';
import type { PerplexityResult } from '../../contract/measurement.ts';
import type { AddCommand } from '../command.ts';
import {
  calibrationMark,
  formatActivations,
  formatBytes,
  formatCounted,
  formatDuration,
  formatPerplexity,
} from '../format.ts';
import {
  deviceOption,
  filePath,
  keyValueCacheOption,
  oneOf,
  textSource,
  wholeNumber,
  withOutputOptions,
  withWindowOptions,
} from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { pairs } from '../table.ts';

interface PerplexityOptions extends OutputOptions {
  text: TextSource;
  context?: number;
  windows?: number;
  documentSeparator?: number | 'none';
  activationBits?: 16 | 8 | 6 | 4;
  kvCache?: KeyValueCache;
  device?: string;
  threads?: number;
  remember: boolean;
}

export const perplexityCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withWindowOptions(
      program
        .command('perplexity')
        .description('measure how well a model predicts a text (lower is better)')
        .argument('<model>', 'Hugging Face folder, .gguf file or package', filePath)
        .requiredOption(
          '--text <text>',
          'text file, .jsonl file or folder of texts, or bundled:general, bundled:stories, bundled:stories-validation',
          textSource,
        ),
    )
      .option(
        '--activation-bits <bits>',
        '16, 8, 6 or 4 (default: what a package was made for; 16 for a model)',
        oneOf(16, 8, 6, 4),
      )
      .option(...keyValueCacheOption)
      .option(...deviceOption)
      .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads))
      .option('--no-remember', 'leave it out of the history'),
  )
    .addHelpText(
      'after',
      `
The text is cut into windows that do not overlap; the loss is the mean over all
positions but the first of each window, as GPTQ, BiLLM and DBellQuant compute
it. Perplexities compare only with the same text, context length and tokenizer.
A package keeps the perplexities that were measured of it.

Examples:
  dbell perplexity resources/dbell-stories-7m --context 512 --windows 16 \\
      --text bundled:stories-validation
  dbell perplexity packed --text wiki.test.txt --context 2048 --json`,
    )
    .action((model: string, options: PerplexityOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const {
          text,
          context,
          windows,
          documentSeparator,
          activationBits,
          kvCache,
          device,
          threads,
          remember,
        } = options;
        const { jobId } = await client.call('perplexity', {
          model,
          text,
          context,
          windows,
          documentSeparator,
          activationBits,
          keyValueCache: kvCache,
          device,
          threads,
          remember,
        });
        const result = await followJob(jobId, 'perplexity');
        output.result(result, () => describe(result));
      }),
    );
};

function describe(result: PerplexityResult): string {
  return pairs([
    ['perplexity', formatPerplexity(result)],
    ['text', `${result.textName}, ${formatCounted(result.windows, 'window')}${calibrationMark(result)}`],
    ['model', result.model],
    ['computed', `${result.kernelPath} on ${result.device}, ${formatActivations(result)}`],
    ['peak memory', formatBytes(result.peakRssBytes)],
    ['time', formatDuration(result.durationMs)],
    ['run', result.runId],
  ]);
}
