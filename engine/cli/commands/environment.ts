import type { AddCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { withOutputOptions } from '../options.ts';
import { pairs } from '../table.ts';

export const environmentCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program
      .command('environment')
      .description('show the machine, the versions and where the history is kept'),
  ).action((options) =>
    run(options, async ({ client, output }) => {
      const environment = await client.call('environment', {});
      const { native } = environment;
      output.result(environment, () =>
        pairs([
          ['version', environment.version],
          ['Node', environment.node],
          ['onnxruntime', native.onnxruntime],
          ['system', `${environment.platform}, ${environment.architecture}`],
          ['processor', `${environment.cpu.model}, ${environment.cpu.cores} cores`],
          ['memory', formatBytes(environment.memoryBytes)],
          ['native part', native.problem ?? `loaded, ${native.threads} threads`],
          ['history', environment.historyFile],
        ]),
      );
    }),
  );
};
