import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { randomNumbers } from './float-tiny-model.ts';
import { temporaryFolder, tinyModelPath } from './quantize-support.ts';

const script = path.join(import.meta.dirname, 'quantize-run.ts');

interface Outcome {
  signal: NodeJS.Signals | null;
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(settings: Record<string, unknown>): { child: ChildProcess; outcome: Promise<Outcome> } {
  const child = spawn(process.execPath, [script, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const outcome = new Promise<Outcome>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, outcome };
}

/** SHA-256 of every file of a folder, by relative name. */
function hashes(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [
        path.relative(folder, file),
        createHash('sha256').update(readFileSync(file)).digest('hex'),
      ]),
  );
}

describe.each([
  { model: 'qwen2', recipe: 'billm', embeddingBits: 8 },
  // At 4 bits the head's table is fitted to what the last block puts out, which must survive too.
  { model: 'opt-relu', recipe: 'grid-4', embeddingBits: 4 },
])('a killed run of $recipe on $model, tables of $embeddingBits bits', ({ model, recipe, embeddingBits }) => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => folder.remove());

  const settings = (name: string, threads: number) => ({
    model: tinyModelPath(model),
    recipe,
    embeddingBits,
    windowCount: 4,
    context: 32,
    output: path.join(folder.path, name),
    threads,
  });

  it('is resumed to the byte-identical package, whichever file operation it was killed at', async () => {
    const whole = await start(settings('whole', 1)).outcome;
    expect(whole.stderr).toBe('');
    const { operations } = JSON.parse(whole.stdout) as { operations: number };
    const expected = hashes(path.join(folder.path, 'whole'));
    expect(Object.keys(expected)).toContain('model.safetensors');
    expect(readdirSync(folder.path)).toEqual(['whole']);

    // Chains of kills: each run gets a little further or not. The last operations of a run are those of putting the package together.
    const random = randomNumbers(2026);
    let kills = 0;
    for (const chain of ['early', 'late']) {
      const output = path.join(folder.path, chain);
      for (let attempt = 0; ; attempt += 1) {
        const share = (random() + 1) / 2;
        const killAtOperation =
          attempt >= 7
            ? undefined
            : chain === 'early'
              ? 1 + Math.floor(share * operations * 0.5)
              : Math.max(1, operations - attempt - Math.floor(share * 3));
        const outcome = await start({ ...settings(chain, 1 + (attempt % 2)), killAtOperation }).outcome;
        if (outcome.signal === 'SIGKILL') {
          kills += 1;
          continue;
        }
        expect(outcome.stderr).toBe('');
        break;
      }
      expect(hashes(output)).toEqual(expected);
    }
    expect(kills).toBeGreaterThan(7);
    expect(readdirSync(folder.path).sort()).toEqual(['early', 'late', 'whole']);
  }, 300_000);

  it('is resumed to the byte-identical package, whenever it was killed', async () => {
    const started = performance.now();
    await start(settings('whole', 2)).outcome;
    const durationMs = performance.now() - started;
    const random = randomNumbers(9);
    let kills = 0;
    for (let attempt = 0; !existsSync(path.join(folder.path, 'killed')); attempt += 1) {
      const { child, outcome } = start(settings('killed', 2));
      const delayMs = attempt < 6 ? durationMs * (0.3 + 0.35 * (random() + 1)) : 100_000;
      const timer = setTimeout(() => child.kill('SIGKILL'), delayMs);
      const { signal, code, stderr } = await outcome;
      clearTimeout(timer);
      if (signal === 'SIGKILL') kills += 1;
      else expect(code, stderr).toBe(0);
    }
    expect(kills).toBeGreaterThan(0);
    expect(hashes(path.join(folder.path, 'killed'))).toEqual(hashes(path.join(folder.path, 'whole')));
  }, 300_000);
});
