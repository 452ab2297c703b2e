import { spawn } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';
import { targetNames } from '../../scripts/fuzz/target-names.ts';

/** `.ci/run` sets a minute; a developer's run stays short. */
const seconds = Number(process.env.DBELL_FUZZ_SECONDS ?? '5');

test.each(targetNames)(
  'mutated files never do more to the %s reader than be refused',
  async (target) => {
    const script = path.resolve(import.meta.dirname, '..', '..', 'scripts', 'fuzz', 'main.ts');
    const child = spawn(process.execPath, [script, '--target', target, '--seconds', String(seconds)]);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(output).toContain('; 0 finds');
    expect(code).toBe(0);
  },
  (seconds + 120) * 1000,
);
