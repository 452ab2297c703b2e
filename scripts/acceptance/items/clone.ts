import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { atMost, holds, type Item, root } from '../harness.ts';

function run(
  command: string,
  args: string[],
  cwd: string,
): { code: number | null; output: string; seconds: number } {
  const started = performance.now();
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 256 * 2 ** 20 });
  return {
    code: result.status,
    output: `${result.stdout}${result.stderr}`,
    seconds: Math.round((performance.now() - started) / 100) / 10,
  };
}

/** The two set-up commands on a clone of the committed state. */
export const cloneItems: Item[] = [
  {
    id: 'clone/demo-and-tests',
    title: 'A clean clone: npm ci, npm run demo, npm test',
    run: async ({ scratch, log }) => {
      const clone = path.join(scratch, 'clone');
      rmSync(clone, { recursive: true, force: true });
      run('git', ['clone', '-q', root, clone], scratch);
      const installed = run('npm', ['ci'], clone);
      log(`npm ci: ${installed.seconds} s`);
      const demo = run('npm', ['run', 'demo'], clone);
      log(`npm run demo: ${demo.seconds} s`);
      const tests = run('npm', ['test'], clone);
      log(`npm test: ${tests.seconds} s`);
      const counts = /Tests .*?(\d+) passed/.exec(tests.output)?.[1];
      return [
        holds('npm ci succeeds', installed.code === 0),
        { name: 'npm ci, seconds', measured: installed.seconds },
        holds('npm run demo succeeds', demo.code === 0),
        atMost('npm run demo, seconds', demo.seconds, 180),
        holds('npm test succeeds', tests.code === 0),
        { name: 'npm test, seconds', measured: tests.seconds },
        { name: 'vitest tests passed', measured: Number(counts ?? 0) },
      ];
    },
  },
];
