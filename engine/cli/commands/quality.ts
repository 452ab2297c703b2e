import type { TextSource } from '../../contract/common.ts';
import { limits } from '../../contract/limits.ts';
import type { QualityFigures, QualityResult, QualitySample } from '../../contract/quality.ts';
import { verdictSentence } from '../../contract/verdict.ts';
import type { AddCommand } from '../command.ts';
import {
  calibrationMark,
  formatActivations,
  formatAgreement,
  formatBytes,
  formatCount,
  formatDuration,
  formatRatio,
  significant,
} from '../format.ts';
import {
  collectTexts,
  filePath,
  oneOf,
  textSource,
  wholeNumber,
  withOutputOptions,
  withWindowOptions,
} from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { pairs, wrap } from '../table.ts';

interface QualityOptions extends OutputOptions {
  against: string;
  text: TextSource;
  context?: number;
  windows?: number;
  documentSeparator?: number | 'none';
  activationBits?: 16 | 8 | 6 | 4;
  threads?: number;
  prompt?: string[];
  tokens?: number;
  seed?: number;
  samples: boolean;
  remember: boolean;
}

/** What the second of the two texts from a prompt is drawn with. */
const sampled = { kind: 'sampled', temperature: 0.8, topP: 0.95 } as const;

export const qualityCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withWindowOptions(
      program
        .command('quality')
        .description('judge a package beside the model it was made from: usable, degraded or broken')
        .argument('<package>', 'folder that quantize wrote', filePath)
        .requiredOption('--against <model>', 'the original: Hugging Face folder or .gguf file', filePath)
        .requiredOption(
          '--text <text>',
          'held-out text: file, folder, or bundled:general, bundled:stories, bundled:stories-validation',
          textSource,
        ),
    )
      .option(
        '--activation-bits <bits>',
        'of the package: 16, 8, 6 or 4 (default: what it was made for)',
        oneOf(16, 8, 6, 4),
      )
      .option(
        '--prompt <text>',
        'let both go on from this; may be repeated (default: how the text begins)',
        collectTexts,
      )
      .option('--tokens <count>', 'most tokens of each (default: 48)', wholeNumber(1, limits.generateTokens))
      .option('--seed <number>', 'of the sampled texts (default: 0)', wholeNumber(0, limits.seed))
      .option('--no-samples', 'figures only')
      .option('--threads <count>', '0 = all cores (default: 0)', wholeNumber(0, limits.threads))
      .option('--no-remember', 'leave it out of the history and the package'),
  )
    .addHelpText(
      'after',
      `
Both models read the same windows of the text, which should be none that the
package was calibrated on. At every position the whole distributions are
compared: the share of positions at which both prefer the same token, and the
Kullback-Leibler divergence of the package from the original.

Examples:
  dbell quality packed --against model.gguf --text wiki.test.txt --windows 16
  dbell quality stories --against resources/dbell-stories-7m --context 512 \\
      --text bundled:stories-validation --prompt "One day, a little fox"`,
    )
    .action((model: string, options: QualityOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const { against, text, context, windows, documentSeparator, activationBits, threads } = options;
        const { jobId } = await client.call('quality', {
          model,
          against,
          text,
          context,
          windows,
          documentSeparator,
          activationBits,
          threads,
          remember: options.remember,
          samples: options.samples
            ? {
                prompts: options.prompt,
                tokens: options.tokens,
                sampling: [{ kind: 'greedy' }, { ...sampled, seed: options.seed ?? 0 }],
              }
            : null,
        });
        const result = await followJob(jobId, 'quality');
        output.result(result, () => describeQuality(result));
      }),
    );
};

const plusMinus = (error: number | null, digits: number) =>
  error === null ? '' : ` ± ${error.toFixed(digits)}`;

/** The lines about a package beside its original that `quantize` and `inspect` show too. */
export function qualityPairs(result: QualityFigures): [string, string | null][] {
  const { klDivergenceNats: kl, perplexityRatio } = result;
  const figure = (value: number | null) => (value === null ? 'not finite' : significant(value, 5));
  return [
    ['verdict', wrap(verdictSentence(result), 64)],
    ['perplexity', `${figure(result.perplexity)}, original ${figure(result.originalPerplexity)}`],
    [
      'ratio',
      perplexityRatio === null
        ? 'not finite'
        : `${formatRatio(perplexityRatio)}${plusMinus(result.perplexityRatioStandardError, 4)}`,
    ],
    [
      'same top token',
      `${formatAgreement(result.topTokenAgreement)}${
        result.topTokenAgreementStandardError === null
          ? ''
          : ` ± ${(100 * result.topTokenAgreementStandardError).toFixed(1)}%`
      }`,
    ],
    [
      'KL divergence',
      `${significant(kl.mean, 3)}${plusMinus(kl.standardError, 4)} nats per token\nmedian ${significant(kl.p50, 2)}, 90% ${significant(kl.p90, 2)}, 95% ${significant(kl.p95, 2)}, 99% ${significant(kl.p99, 2)}`,
    ],
    [
      'measured on',
      `${result.textName}, ${formatCount(result.windows)} × ${formatCount(result.context)} tokens, ${formatCount(result.tokens)} scored${calibrationMark(result)}`,
    ],
  ];
}

function describeQuality(result: QualityResult): string {
  const text = pairs([
    ...qualityPairs(result),
    ['weight files', `${formatBytes(result.modelBytes)}, original ${formatBytes(result.againstBytes)}`],
    ['package', result.model],
    ['original', result.against],
    ['computed', `${result.kernelPath} on ${result.device}, ${formatActivations(result)}`],
    ['peak memory', formatBytes(result.peakRssBytes)],
    ['time', formatDuration(result.durationMs)],
    ['run', result.runId],
  ]);
  return [text, ...result.samples.map(describeSample)].join('\n\n');
}

const sampleWidth = 66;

function describeSample({ prompt, sampling, original, model }: QualitySample): string {
  const way =
    sampling.kind === 'greedy'
      ? 'always the likeliest token'
      : `temperature ${sampling.temperature}, top-p ${sampling.topP}, seed ${sampling.seed}`;
  return pairs([
    ['prompt', wrap(prompt.trim(), sampleWidth)],
    ['tokens', way],
    ['original', shownText(original.text)],
    ['package', shownText(model.text)],
  ]);
}

function shownText(text: string): string {
  return text
    .trim()
    .split('\n')
    .map((line) => wrap(line, sampleWidth))
    .join('\n');
}
