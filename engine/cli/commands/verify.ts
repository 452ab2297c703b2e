import type { VerifyResult } from '../../contract/quantization.ts';
import type { AddCommand } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import { formatBytes, formatCount } from '../format.ts';
import { filePath, withOutputOptions } from '../options.ts';
import type { OutputOptions } from '../output.ts';
import { CommandEnd } from '../session.ts';

export const verifyCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('verify')
      .description('check a package: structure, hashes, and its numbers against the source model')
      .argument('<package>', 'folder that quantize wrote', filePath)
      .option('--against <model>', 'the model it was made from, to compare the weights with', filePath)
      .option('--no-remember', 'leave it out of the history'),
  )
    .addHelpText(
      'after',
      `
Exit code 1 if anything is wrong.

Examples:
  dbell verify packed
  dbell verify packed --against model.gguf --json`,
    )
    .action((folder: string, options: OutputOptions & { against?: string; remember: boolean }) =>
      run(options, async ({ client, output, followJob }) => {
        const { against, remember } = options;
        const { jobId } = await client.call('verify', {
          package: folder,
          against,
          remember,
        });
        const result = await followJob(jobId, 'verify');
        for (const warning of result.warnings) output.message(`warning: ${warning}`);
        output.result(result, () => describeVerification(result));
        if (!result.ok) throw new CommandEnd(exitCodes.failure);
      }),
    );
};

/** The verdict, what was checked for it, and everything that is wrong. */
export function describeVerification(result: VerifyResult): string {
  const checked = `${formatCount(result.checkedTensors)} tensors, ${formatBytes(result.checkedBytes)} in all files checked${result.against ? `, compared with ${result.against}` : ''}`;
  if (result.ok) return `ok: ${result.package} (${checked})`;
  return [
    `NOT ok: ${result.package} (${checked})`,
    ...result.problems.map(({ code, message }) => `  ${code}: ${message}`),
  ].join('\n');
}
