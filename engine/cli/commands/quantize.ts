import type { TextSource } from '../../contract/common.ts';
import { DBellError } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import type { QuantizeResult } from '../../contract/quantization.ts';
import type { AddCommand } from '../command.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatPerplexity,
  significant,
  tableLines,
} from '../format.ts';
import {
  type CalibrationOptions,
  chosenCalibration,
  filePath,
  textSource,
  wholeNumber,
  withCalibrationOptions,
  withOutputOptions,
} from '../options.ts';
import { pairs } from '../table.ts';
import { describeBenchmark } from './benchmark.ts';
import { qualityPairs } from './quality.ts';
import { type QuantizationOptions, withQuantizationOptions } from './quantization-options.ts';

interface QuantizeOptions extends QuantizationOptions, CalibrationOptions {
  out: string;
  thenPerplexity?: TextSource;
  thenQuality?: TextSource;
  thenWindows?: number;
  thenContext?: number;
  thenBenchmark?: boolean;
}

export const quantizeCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withCalibrationOptions(
      withQuantizationOptions(
        program
          .command('quantize')
          .description('calibrate and quantize a model and write it as a package')
          .argument('<model>', 'Hugging Face folder or .gguf file', filePath),
      ),
    )
      .requiredOption('--out <folder>', 'the package; must not exist yet', filePath)
      .option('--then-perplexity <text>', 'measure the perplexity of the package on this text', textSource)
      .option(
        '--then-quality <text>',
        'judge the package beside the model on this held-out text ("dbell quality")',
        textSource,
      )
      .option(
        '--then-windows <count>',
        'windows of these measurements (default: all that the text has)',
        wholeNumber(1, limits.windowCount),
      )
      .option(
        '--then-context <tokens>',
        "tokens of their windows (default: 2048, or the model's own context if shorter)",
        wholeNumber(2, limits.contextTokens),
      )
      .option('--then-benchmark', 'measure the speed and memory of the package'),
  )
    .addHelpText(
      'after',
      `
Every block is checkpointed in OUT.partial; OUT appears when it is complete.
After Ctrl-C, a crash or a power cut, "dbell resume OUT" goes on and gives the
same bytes as an undisturbed run.

Examples:
  dbell quantize resources/dbell-stories-7m --recipe dbellquant \\
      --calibration bundled:stories --windows 32 --context 512 --out stories
  dbell quantize model.gguf --recipe gptq-3 --calibration texts/ --out packed`,
    )
    .action((model: string, options: QuantizeOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const { recipe, windows, context, activationBits, embeddingBits, set, threads, floatDevice } =
          options;
        if (
          (options.thenWindows !== undefined || options.thenContext !== undefined) &&
          !options.thenPerplexity &&
          !options.thenQuality
        )
          throw new DBellError(
            'invalid-input',
            '--then-windows and --then-context say how --then-perplexity and --then-quality measure; give one of these too',
          );
        const measured = { windows: options.thenWindows, context: options.thenContext };
        const { jobId } = await client.call('quantize', {
          model,
          recipe,
          windows,
          context,
          activationBits,
          embeddingBits,
          set,
          threads,
          floatDevice,
          calibration: chosenCalibration(options),
          seed: options.seed,
          out: options.out,
          followUp: {
            perplexity: options.thenPerplexity && { text: options.thenPerplexity, ...measured },
            quality: options.thenQuality && { text: options.thenQuality, ...measured },
            benchmark: options.thenBenchmark,
          },
        });
        const result = await followJob(jobId, 'quantize');
        output.result(result, () => describeQuantization(result));
      }),
    );
};

export const resumeCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('resume')
      .description('go on where a stopped or killed quantization ended')
      .argument('<folder>', 'OUT or OUT.partial', filePath)
      .option('--threads <count>', '0 = all cores (default: as before)', wholeNumber(0, limits.threads)),
  )
    .addHelpText('after', '\nExample:\n  dbell resume packed')
    .action((folder: string, options) =>
      run(options, async ({ client, output, followJob }) => {
        const { jobId } = await client.call('resume', {
          path: folder,
          threads: options.threads,
        });
        const result = await followJob(jobId, 'quantize');
        output.result(result, () => describeQuantization(result));
      }),
    );
};

function resumedWords(times: number): string {
  if (times === 0) return '';
  return times === 1 ? ', resumed once' : `, resumed ${formatCount(times)} times`;
}

/** How many of the layers with the largest errors are shown. */
const shownLayers = 3;

function describeQuantization(result: QuantizeResult): string {
  const { calibration } = result;
  const text = pairs([
    ['package', result.package],
    [
      'recipe',
      `${result.recipe}, activations ${result.activationBits} bits, embedding ${result.embeddingBits} bits`,
    ],
    [
      'stored',
      `${significant(result.storedBitsPerWeight, 4)} bits per weight in the quantized linears${
        result.nominalBitsPerWeight === null ? '' : ` (nominal: ${result.nominalBitsPerWeight})`
      }`,
    ],
    ['tables', tableLines(result.tables)],
    [
      'weight file',
      result.modelBytes === undefined
        ? null
        : formatBytes(result.modelBytes) +
          (result.sourceBytes === null ? '' : `, the original's ${formatBytes(result.sourceBytes)}`),
    ],
    ['all files', `${formatBytes(result.bytes)}, with tokenizer, config, quality and card`],
    [
      'calibration',
      calibration === null
        ? 'none needed'
        : `${calibration.name}, ${formatCount(calibration.windows)} × ${formatCount(calibration.context)} tokens` +
          (calibration.computedBy === undefined ? '' : `, computed by ${calibration.computedBy}`),
    ],
    ['layer error', `mean ${significant(result.meanRelativeError, 3)} (relative to the output)`],
    [
      'worst layers',
      result.worstLayers
        .slice(0, shownLayers)
        .map(({ name, relativeError }) => `${significant(relativeError, 3)}  ${name}`)
        .join('\n'),
    ],
    [
      'perplexity',
      result.perplexity && `${formatPerplexity(result.perplexity)}, ${result.perplexity.textName}`,
    ],
    ...(result.quality === null ? [] : qualityPairs(result.quality)),
    ['peak memory', result.peakRssBytes === null ? 'unknown' : formatBytes(result.peakRssBytes)],
    [
      'time',
      (result.durationMs === null ? 'unknown' : formatDuration(result.durationMs)) +
        resumedWords(result.resumedTimes),
    ],
    ['run', result.runId],
    ['notes', result.layerNotes.length > 0 ? result.layerNotes.join('\n') : null],
  ]);
  return result.benchmark === null ? text : `${text}\n\n${describeBenchmark(result.benchmark)}`;
}
