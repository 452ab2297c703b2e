import { Option } from 'commander';
import { type ExportWeights, exportWeightsSchema } from '../../contract/export.ts';
import type { AddCommand } from '../command.ts';
import { formatBytes, formatCounted } from '../format.ts';
import { filePath, withOutputOptions } from '../options.ts';
import type { OutputOptions } from '../output.ts';

interface ExportOptions extends OutputOptions {
  format: 'gguf';
  out: string;
  rounding: 'exact' | 'closest' | 'compact';
  weights: ExportWeights;
}

export const exportCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('export')
      .description('write a package as a GGUF file for llama.cpp')
      .argument('<package>', 'folder that quantize wrote', filePath)
      .addOption(
        new Option('--format <format>', 'format of the file').choices(['gguf']).makeOptionMandatory(),
      )
      .requiredOption('--out <file>', 'file to write; must not exist', filePath)
      .addOption(
        new Option(
          '--rounding <how>',
          'what is done where weights have no exact counterpart: refuse it, take the closest, or take the smaller type though it rounds',
        )
          .choices(['exact', 'closest', 'compact'])
          .default('closest'),
      )
      .addOption(
        new Option(
          '--weights <how>',
          'as blocks of codes and scales, or dequantized to 16 bits a weight, which a package of any recipe can be',
        )
          .choices(exportWeightsSchema.options)
          .default('blocks'),
      ),
  )
    .addHelpText(
      'after',
      `
Grids without a column scale map: 2 levels to Q1_0, 3 to Q2_0, 4 and 8 to Q4_0,
16 to Q5_0 (--rounding compact: to Q4_1, rounded); tables to F16 or Q8_0. What
does not map is refused with the reason. --weights f16 writes it all the same,
as large as the original, to compare with: llama.cpp rounds activations to 8
bits where weights are blocks, and to 16 where they are F16.

Examples:
  dbell export packed --format gguf --out packed.gguf
  dbell export packed --format gguf --out packed.gguf --rounding exact --json
  dbell export packed --format gguf --out as-computed.gguf --weights f16`,
    )
    .action((folder: string, options: ExportOptions) =>
      run(options, async ({ client, output, followJob }) => {
        const { format, out, rounding, weights } = options;
        const { jobId } = await client.call('export', {
          package: folder,
          format,
          out,
          rounding,
          weights,
        });
        const result = await followJob(jobId, 'export');
        for (const note of result.notes) output.message(`note: ${note}`);
        output.result(result, () =>
          [
            `${result.out}: ${formatBytes(result.bytes)}, the package's weight file ${formatBytes(result.packageBytes)}`,
            ...Object.entries(result.types).map(
              ([type, { tensors, bytes }]) =>
                `  ${type}: ${formatCounted(tensors, 'tensor')}, ${formatBytes(bytes)}`,
            ),
          ].join('\n'),
        );
      }),
    );
};
