import { limits } from '../../contract/limits.ts';
import type { TextPreview } from '../../contract/text-preview.ts';
import type { AddCommand } from '../command.ts';
import { formatCount } from '../format.ts';
import {
  type CalibrationOptions,
  chosenCalibration,
  filePath,
  wholeNumber,
  withCalibrationOptions,
  withOutputOptions,
} from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { pairs, wrap } from '../table.ts';

interface PreviewOptions extends OutputOptions, CalibrationOptions {
  windows?: number;
  context?: number;
}

export const calibrationCommand: AddCommand = (program, run) => {
  const calibration = program
    .command('calibration')
    .description('look at what a quantization would be calibrated on');
  withOutputOptions(
    withCalibrationOptions(
      calibration
        .command('preview')
        .description('show the first of the very tokens that "quantize" would calibrate on')
        .argument('<model>', 'Hugging Face folder or .gguf file', filePath),
    )
      .option('--windows <count>', 'calibration windows (default: 64)', wholeNumber(1, limits.windowCount))
      .option(
        '--context <tokens>',
        "tokens of a window (default: 2048, or the model's own context if shorter)",
        wholeNumber(2, limits.contextTokens),
      ),
  )
    .addHelpText(
      'after',
      `
Text that the model writes itself (self) is sampled from its own beginning of
text, and by its chat template where it has one. The same seed writes the same
text, so that what is shown is what will be used.

Examples:
  dbell calibration preview model.gguf --calibration texts/ --windows 32
  dbell calibration preview model/ --calibration self --seed 7 --context 512`,
    )
    .action((model: string, options: PreviewOptions) =>
      run(options, async ({ client, output }) => {
        const { windows, context, seed } = options;
        const text = chosenCalibration(options);
        const preview = await client.call('previewText', { model, text, windows, context, seed });
        output.result(preview, () => describe(preview));
      }),
    );
};

const shownWidth = 78;

function describe(preview: TextPreview): string {
  const facts = pairs([
    ['text', preview.textName],
    ['SHA-256', preview.textSha256],
    ['tokens', `${formatCount(preview.totalTokens)} in all, windows of ${formatCount(preview.context)}`],
    ['windows', formatCount(preview.availableWindows)],
    ['notes', preview.notes.length > 0 ? preview.notes.join('\n') : null],
  ]);
  const windows = preview.windows.map(({ tokens }, index) => {
    const text = tokens.map((token) => token.text).join('');
    return `window ${index + 1}, first ${formatCount(tokens.length)} tokens\n${text
      .split('\n')
      .map((line) => wrap(line, shownWidth))
      .join('\n')}`;
  });
  return [facts, ...windows].join('\n\n');
}
