import { type Estimate, notesInWords } from '../../contract/quantization.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatBytes, formatCount, formatDuration, significant } from '../format.ts';
import { filePath, withOutputOptions } from '../options.ts';
import { CommandEnd } from '../session.ts';
import { table, wrap } from '../table.ts';
import { problemLines } from './inspect.ts';
import { type QuantizationOptions, withQuantizationOptions } from './quantization-options.ts';

export const estimateCommand: AddCommand = (program, run) => {
  withOutputOptions(
    withQuantizationOptions(
      program
        .command('estimate')
        .description('say beforehand what a quantization needs and gives: bytes, memory, disk, time')
        .argument('<model>', 'Hugging Face folder or .gguf file', filePath),
    )
      .option('--out <folder>', 'where the package would be written, to check that disk', filePath)
      .option('--no-measure-speed', 'read headers only; assume the speed of a typical CPU'),
  )
    .addHelpText(
      'after',
      `
Exit code 1 if the quantization cannot work here.

Examples:
  dbell estimate model.gguf --recipe dbellquant
  dbell estimate model/ --recipe gptq-3 --windows 128 --context 1024 --json`,
    )
    .action((model: string, options: QuantizationOptions & { out?: string; measureSpeed: boolean }) =>
      run(options, async ({ client, output }) => {
        const { recipe, windows, context, activationBits, embeddingBits, set, threads, floatDevice, out } =
          options;
        const estimate = await client.call('estimate', {
          model,
          recipe,
          windows,
          context,
          activationBits,
          embeddingBits,
          set,
          threads,
          floatDevice,
          measureSpeed: options.measureSpeed,
          out,
        });
        output.result(estimate, () => describe(estimate));
        if (estimate.problems.some(({ severity }) => severity === 'error')) {
          throw new CommandEnd(exitCodes.failure);
        }
      }),
    );
};

/** Where the plain words of an item's name would not do. */
const partNames: Readonly<Record<string, string>> = { other: 'norms and others', package: 'package, twice' };

function describe(estimate: Estimate): string {
  const section = (
    title: string,
    total: number,
    items: { name: string; bytes: number }[],
    note: string,
  ): string[][] => [
    [title, formatBytes(total), note],
    ...items.map(({ name, bytes }) => [`  ${partNames[name] ?? inWords(name)}`, formatBytes(bytes), '']),
  ];
  const isMeasured = estimate.timeMs.basis === 'measured';
  const available = (bytes: number | null) => (bytes === null ? '' : `${formatBytes(bytes)} available`);
  const inWords = (name: string) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const rows = [
    ...section(
      'weight file',
      estimate.packageBytes,
      estimate.packageItems,
      `${significant(estimate.storedBitsPerWeight, 3)} stored bits per weight`,
    ),
    ...(estimate.gguf.bytes === null
      ? []
      : [['exported as GGUF', formatBytes(estimate.gguf.bytes), 'tokenizer included']]),
    ...section(
      'peak memory',
      estimate.peakMemoryBytes,
      estimate.memoryItems,
      available(estimate.availableMemoryBytes),
    ),
    ...section(
      'disk while working',
      estimate.diskBytes,
      estimate.diskItems,
      available(estimate.availableDiskBytes),
    ),
    [
      'time',
      formatDuration(estimate.timeMs.expected),
      `${formatDuration(estimate.timeMs.low)} to ${formatDuration(estimate.timeMs.high)}, by ${
        isMeasured ? 'one block timed here' : 'the speed of a typical CPU'
      }`,
    ],
    ...(isMeasured ? [] : [['', '', 'no block was timed here, so the span is wide']]),
  ];
  const calibration =
    estimate.windows === 0
      ? 'no calibration'
      : `calibration ${formatCount(estimate.windows)} × ${formatCount(estimate.context)} tokens`;
  const head = `${estimate.recipe}, ${calibration}`;
  return [
    head,
    '',
    table([{ title: 'WHAT' }, { title: 'ESTIMATE', align: 'right' }, { title: '' }], rows),
    ...notesInWords(estimate.notes, estimate.gguf).map((note) => wrap(`note: ${note}`, 78)),
    ...problemLines(estimate.problems),
  ].join('\n');
}
