/**
 * `npm run fuzz -- [--target safetensors|gguf|package] [--seconds N] [--seed S]`: mutated files against a reader.
 *
 * A reader may refuse a file with a DBellError; anything else (another exception, a crash of the process, more than the time or memory limit) is a find. Each input is written to
 * build/fuzz before it is read, so that the input of a crash is there afterwards; finds are copied to build/fuzz/finds. Each target runs in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type TargetName, targetNames } from './target-names.ts';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
  },
});
const chosen =
  values.target === undefined ? targetNames : targetNames.filter((name) => name === values.target);
if (chosen.length === 0) {
  console.error(`--target is "${values.target}"; it must be one of ${targetNames.join(', ')}`);
  process.exit(2);
}
const seed = Number(values.seed ?? Math.floor(Date.now() / 1000));
const finds = path.join(root, 'build', 'fuzz', 'finds');
mkdirSync(finds, { recursive: true });

function fuzz(target: TargetName): boolean {
  const worker = path.join(root, 'scripts', 'fuzz', 'worker.ts');
  const current = path.join(root, 'build', 'fuzz', target, 'current');
  const result = spawnSync(
    process.execPath,
    ['--max-old-space-size=2048', worker, target, values.seconds, String(seed)],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: (Number(values.seconds) + 120) * 1000,
      killSignal: 'SIGKILL',
    },
  );
  if (result.status === 0) return true;
  const kept = path.join(finds, `${target}-${seed}-crash`);
  if (existsSync(current)) copyFileSync(current, kept);
  console.error(
    `${target}: the reader's process ended with ${result.signal ?? result.status}; its last input: ${kept}`,
  );
  return false;
}

let clean = true;
for (const target of chosen) clean = fuzz(target) && clean;
process.exitCode = clean ? 0 : 1;
