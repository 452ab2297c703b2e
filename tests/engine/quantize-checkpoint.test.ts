import { mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TokenWindows } from '../../engine/calibration/windows.ts';
import { DBellError } from '../../engine/contract/errors.ts';
import { setFileFault } from '../../engine/files/faults.ts';
import { lockFolder } from '../../engine/files/folder-lock.ts';
import { createFloatEngine } from '../../engine/float/engine.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { type QuantizeOptions, type QuantizeResult, quantize } from '../../engine/quantize/pipeline.ts';
import type { QuantizationProgress } from '../../engine/quantize/progress.ts';
import { resolveRecipe } from '../../engine/quantize/resolve-recipe.ts';
import { idWindows, randomWindows, temporaryFolder, tinyModelPath } from './quantize-support.ts';

let folder: ReturnType<typeof temporaryFolder>;
let output: string;
beforeEach(() => {
  folder = temporaryFolder();
  output = path.join(folder.path, 'out');
});
afterEach(() => {
  setFileFault(null);
  folder.remove();
});

interface Settings extends Partial<Omit<QuantizeOptions, 'windows' | 'recipe'>> {
  model?: string;
  recipe?: string;
  set?: Record<string, string>;
  windows?: (vocabularySize: number) => TokenWindows | null;
  stopAfter?: (step: string, block: number) => boolean;
}

async function run(settings: Settings = {}): Promise<QuantizeResult> {
  const source = await openModel(settings.model ?? tinyModelPath('llama-plain'));
  const engine = await createFloatEngine(source, { threads: 1 });
  const workDirectory = settings.workDirectory ?? `${output}.partial`;
  const { vocabularySize, family } = source.architecture;
  let stop = false;
  try {
    return await quantize({
      embeddingBits: 16,
      seed: 0,
      threads: 1,
      ...settings,
      source,
      engine,
      workDirectory,
      windows: settings.windows ? settings.windows(vocabularySize) : randomWindows(vocabularySize, 3, 16),
      recipe: resolveRecipe(settings.recipe ?? 'gptq-2', settings.set ?? {}, 16, family),
      sink: createPackageSink({ workDirectory, outputDirectory: output }),
      onProgress: (event) => {
        settings.onProgress?.(event);
        stop ||= settings.stopAfter?.(event.step, event.blockIndex) ?? false;
      },
      control: settings.control ?? { paused: () => false, stopRequested: () => stop },
    });
  } finally {
    await engine.close();
    source.close();
  }
}

async function failure(settings: Settings = {}): Promise<{ code: string; message: string }> {
  try {
    await run(settings);
  } catch (error) {
    if (error instanceof DBellError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('no error was thrown');
}

const stopInBlock1 = { stopAfter: (step: string, block: number) => step === 'quantize' && block === 1 };

describe('checkpoints', () => {
  it('stop keeps the blocks that are done, and the next run goes on there', async () => {
    expect((await failure(stopInBlock1)).code).toBe('stopped');
    expect(readdirSync(folder.path)).toEqual(['out.partial']);
    const told: QuantizationProgress[] = [];
    const result = await run({ onProgress: (event) => told.push(event) });
    expect(result.resumedBlocks).toBe(1);
    expect(readdirSync(folder.path)).toEqual(['out']);
    // Before any work: block 2 of 2, with the share of the first as done.
    expect(told[0]).toMatchObject({ step: 'prepare', blockIndex: 1, blockCount: 2 });
    expect(told[0]?.fraction).toBeGreaterThan(0.2);
    expect(told[0]?.fraction).toBeLessThanOrEqual(told[1]?.fraction ?? 0);
  });

  it('pauses between windows and goes on', async () => {
    let polls = 0;
    const control = { paused: () => polls++ === 4, stopRequested: () => false };
    await run({ control });
    expect(polls).toBeGreaterThan(5);
  });

  it.each<[what: string, settings: Settings, message: RegExp]>([
    ['recipe', { recipe: 'gptq-3' }, /recipe\.binarizer\.bits was 2 and is now 3/],
    [
      'setting',
      { set: { 'compensation.damping': '0.02' } },
      /recipe\.compensation\.damping was 0\.05 and is now 0\.02/,
    ],
    [
      'calibration',
      { windows: (size) => randomWindows(size, 3, 17) },
      /calibration was [0-9a-f]{64} and is now/,
    ],
    ['model', { model: tinyModelPath('llama-gelu') }, /model was [0-9a-f]{64} and is now/],
    ['embedding bits', { embeddingBits: 8 }, /embeddingBits was 16 and is now 8/],
    ['seed', { seed: 5 }, /seed was 0 and is now 5/],
  ])('of another %s are refused, saying what differs', async (_what, settings, message) => {
    await failure(stopInBlock1);
    const error = await failure(settings);
    expect(error.code).toBe('invalid-checkpoint');
    expect(error.message).toMatch(message);
  });

  it('that are damaged are refused', async () => {
    await failure(stopInBlock1);
    const checkpoint = path.join(`${output}.partial`, 'checkpoint');
    const states = path.join(checkpoint, 'quantized-1.f32');
    const good = readFileSync(states);
    const flipped = Buffer.from(good);
    flipped.writeUInt8(flipped.readUInt8(100) ^ 1, 100);
    writeFileSync(states, flipped);
    expect(await failure()).toMatchObject({
      code: 'invalid-checkpoint',
      message: expect.stringContaining('SHA-256 differs'),
    });
    truncateSync(states, 100);
    expect((await failure()).message).toMatch(/has 100 bytes where \d+ belong/);
    writeFileSync(states, good);

    const state = path.join(checkpoint, 'state.json');
    const goodState = readFileSync(state, 'utf8');
    writeFileSync(state, goodState.slice(0, 50));
    expect((await failure()).message).toMatch(/state\.json cannot be read; delete the \.partial folder/);
    writeFileSync(state, goodState.replace('"version": 1', '"version": 9'));
    expect((await failure()).message).toMatch(/has version 9, this program writes version 1/);
    writeFileSync(state, goodState.replace('"blocksDone": 1', '"blocksDone": -1'));
    expect((await failure()).message).toMatch(/is damaged \(blocksDone/);
    writeFileSync(state, goodState.replace('"blocksDone": 1', '"blocksDone": 2'));
    expect((await failure()).message).toMatch(/block 1 is not stored/);
    writeFileSync(state, goodState);
    expect((await run()).resumedBlocks).toBe(1);
  });

  it('survive a full disk at every point of a run', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    let failures = 0;
    for (let limit = 0; ; limit += 20_000) {
      setFileFault(({ kind, totalBytes }) => {
        if (kind === 'write' && totalBytes >= limit) throw full;
      });
      try {
        await run();
        break;
      } catch (error) {
        if (!(error instanceof DBellError)) throw error;
        expect(error.code).toBe('disk-full');
        failures += 1;
      }
      expect(readdirSync(folder.path)).not.toContain('out');
    }
    expect(failures).toBeGreaterThan(2);
    expect(readdirSync(folder.path)).toEqual(['out']);
  });
});

describe('the lock', () => {
  const work = () => {
    mkdirSync(`${output}.partial`, { recursive: true });
    return `${output}.partial`;
  };
  const lockPath = () => path.join(`${output}.partial`, 'lock');
  const owner = (pid: number, incarnation: string, host = hostname()) =>
    JSON.stringify({ pid, host, incarnation, token: 'someone' });

  it('lets one of two jobs write', async () => {
    const lock = await lockFolder(work());
    expect(await failure()).toEqual({
      code: 'output-exists',
      message: expect.stringContaining('is being written by another job of this process'),
    });
    lock.release();
    await run();
  });

  it('is taken over from a process that is gone, or whose id was given to another', async () => {
    work();
    writeFileSync(lockPath(), owner(2 ** 22 + 1, ''));
    (await lockFolder(work())).release();
    writeFileSync(lockPath(), owner(process.ppid, 'another boot/1'));
    (await lockFolder(work())).release();
    writeFileSync(lockPath(), 'cut');
    (await lockFolder(work())).release();
    expect(readdirSync(work())).toEqual([]);
  });

  it('is respected where its process lives, or cannot be seen from here', async () => {
    work();
    writeFileSync(lockPath(), owner(process.ppid, ''));
    expect((await failure()).message).toMatch(/is being written by process \d+; wait for it/);
    writeFileSync(lockPath(), owner(1, '', 'elsewhere'));
    expect((await failure()).message).toMatch(
      /locked by process 1 on elsewhere; if that process is gone, delete/,
    );
  });

  it('goes to exactly one of several that find it stale', async () => {
    work();
    writeFileSync(lockPath(), owner(2 ** 22 + 1, ''));
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => lockFolder(work())));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });
});

describe('before the start', () => {
  it('refuses what cannot work, with the reason', async () => {
    const refusals: [settings: Settings, code: string, message: RegExp][] = [
      [
        { windows: () => null },
        'invalid-input',
        /recipe gptq-2 needs calibration text; give one with --calibration/,
      ],
      [
        { windows: (size) => randomWindows(size, 1, 4096) },
        'invalid-input',
        /windows of 4096 tokens exceed the model's context length of \d+/,
      ],
      [
        { windows: () => idWindows(new Array(32).fill(100_000), 2, 16) },
        'invalid-input',
        /token 0 has id 100000, outside the vocabulary/,
      ],
      [
        { model: tinyModelPath('mistral-sliding-window'), windows: (size) => randomWindows(size, 1, 60) },
        'invalid-input',
        /sliding attention window of \d+/,
      ],
      [{ workDirectory: 'somewhere' }, 'invalid-input', /must end in \.partial/],
    ];
    for (const [settings, code, message] of refusals) {
      const error = await failure(settings);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(message);
    }
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it('never writes into the model, by links either, and never over an output', async () => {
    const inside = path.join(tinyModelPath('llama-plain'), 'deep', 'out');
    expect((await failure({ outputDirectory: inside })).message).toMatch(
      /lies inside the model .* never written to/,
    );
    symlinkSync(tinyModelPath('llama-plain'), path.join(folder.path, 'link'));
    expect((await failure({ outputDirectory: path.join(folder.path, 'link', 'out') })).message).toMatch(
      /lies inside the model/,
    );
    mkdirSync(output);
    expect(await failure()).toEqual({
      code: 'output-exists',
      message: `output ${output} exists already; choose another folder or remove it`,
    });
  });

  it('needs no text for plain rounding', async () => {
    await run({ recipe: 'rtn-4', windows: () => null });
    expect(readdirSync(folder.path)).toEqual(['out']);
  });
});
