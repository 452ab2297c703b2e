import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { targetNames } from '../../fuzz/target-names.ts';
import { atLeast, type Figure, holds, type Item, root } from '../harness.ts';

/** Runs a command of the repository and returns its exit code and the end of its output. */
function run(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): { code: number | null; output: string } {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 64 * 2 ** 20,
  });
  return { code: result.status, output: `${result.stdout}${result.stderr}` };
}

export const robustnessItems: Item[] = [
  {
    id: 'robustness/broken-inputs',
    title: 'Broken inputs in table-driven tests, each with its exact message',
    run: async ({ scratch }) => {
      const report = path.join(scratch, 'broken-inputs.json');
      const files = [
        'model-broken',
        'package-broken',
        'package-faults',
        'quantize-checkpoint',
        'history-hostile',
        'cli-broken',
      ];
      const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
      const { code } = run(
        process.execPath,
        [vitest, 'run', ...files, '--reporter=json', `--outputFile=${report}`],
        {
          DBELL_REQUIRE_ASSETS: '1',
        },
      );
      const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as {
        numPassedTests: number;
        numFailedTests: number;
      };
      return [
        atLeast('broken inputs refused as the tables say', numPassedTests, 60),
        holds('none failed', code === 0 && numFailedTests === 0),
      ];
    },
  },
  {
    id: 'robustness/sanitizers',
    title: 'Native tests under the address and undefined-behaviour sanitizers',
    run: async () => {
      const { code, output } = run(process.execPath, [path.join(root, 'scripts', 'test-native.mjs')]);
      const count = /tests passed, 0 tests failed out of (\d+)/.exec(output)?.[1];
      return [holds('clean', code === 0), { name: 'native test programs', measured: Number(count ?? 0) }];
    },
  },
  ...targetNames.map(
    (target): Item => ({
      id: `robustness/fuzz-${target}`,
      title: `Ten minutes of mutated files against the ${target} reader`,
      run: async () => {
        const { code, output } = run(process.execPath, [
          path.join(root, 'scripts', 'fuzz', 'main.ts'),
          '--target',
          target,
          '--seconds',
          '600',
        ]);
        const inputs = Number(/(\d+) inputs in/.exec(output)?.[1] ?? 0);
        const finds = Number(/(\d+) finds/.exec(output)?.[1] ?? Number.NaN);
        const figures: Figure[] = [
          { name: 'inputs', measured: inputs },
          { name: 'finds', measured: finds, asked: '0', pass: code === 0 && finds === 0 },
        ];
        return figures;
      },
    }),
  ),
];
