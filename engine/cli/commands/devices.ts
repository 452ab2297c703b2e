import type { Devices } from '../../contract/environment.ts';
import type { AddCommand } from '../command.ts';
import { withOutputOptions } from '../options.ts';
import { table } from '../table.ts';

export const devicesCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program.command('devices').description('list what can run packages: the CPU and graphics adapters'),
  )
    .addHelpText(
      'after',
      `
The first column is what --device of generate, chat, perplexity and benchmark
takes. A software adapter computes on the processor: right results, no speed.`,
    )
    .action((options) =>
      run(options, async ({ client, output }) => {
        const devices = await client.call('devices', {});
        output.result(devices, () => describe(devices));
      }),
    );
};

function describe({ adapters, problem }: Devices): string {
  const rows = adapters.map(({ name, backend, isSoftware, driver, problem: reason }, index) => [
    `gpu:${index}`,
    name,
    backend,
    driver || '–',
    reason ?? (isSoftware ? 'software adapter' : 'GPU'),
  ]);
  const columns = ['device', 'name', 'backend', 'driver', ''].map((title) => ({ title }));
  const text = table(columns, [['cpu', 'the processor', '', '', ''], ...rows]);
  return problem === null
    ? text
    : `${text}\n${problem}\ndocs/gpu.md: what is needed, and how to try without a graphics card`;
}
