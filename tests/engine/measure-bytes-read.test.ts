import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { MemoryBandwidth } from '../../engine/contract/measurement.ts';
import { createFloatTextModel } from '../../engine/float/text-model.ts';
import { bandwidthShare } from '../../engine/measure/bandwidth-share.ts';
import { bordersOf, runBenchmark } from '../../engine/measure/benchmark.ts';
import { measureMemoryBandwidth, medianBandwidth } from '../../engine/measure/memory-bandwidth.ts';
import { keyValueBytesRead } from '../../engine/model/key-value-bytes.ts';
import { openModel } from '../../engine/model/open.ts';
import type { BytesReadPerToken } from '../../engine/model/text-model.ts';
import { openPackage } from '../../engine/package/open.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import type { TaskControl } from '../../engine/service/tasks/control.ts';
import { memoryBandwidthTask } from '../../engine/service/tasks/memory-bandwidth.ts';
import { bundled } from '../assets.ts';
import { finishOptions, type PackOptions, writeBlocks } from './package-support.ts';
import { ScriptedTextModel } from './scripted-text-model.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-bytes-read-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bytes of model.safetensors behind its header. */
function tensorBytes(packagePath: string): number {
  const file = readFileSync(path.join(packagePath, 'model.safetensors'));
  return file.length - 8 - Number(file.readBigUInt64LE(0));
}

const sumOf = ({ linears, head, others }: BytesReadPerToken) => linears + head + others;

describe('what one token reads of a package', () => {
  const ids = Int32Array.from({ length: 128 }, (_, index) => (index * 31) % 4000);

  test.each([
    { name: 'four levels', options: { levels: 4, embeddingBits: 16 } },
    {
      name: 'three levels with residual columns',
      options: { levels: 3, residualShare: 0.1, embeddingBits: 8 },
    },
    { name: 'a head of four bits', options: { levels: 2, embeddingBits: 4 } },
  ] as { name: string; options: PackOptions }[])(
    'is its tensors, and of the cache what has been written: $name',
    async ({ options }) => {
      const source = await openModel(bundled.model);
      const out = path.join(folder, JSON.stringify(options).replace(/\W+/g, '-'));
      await writeBlocks(source, out, options).finish(finishOptions(source, options));
      source.close();
      const packed = await openPackage(out, { checkValues: false });
      const model = await createPackedTextModel(packed, { threads: 1 });
      const read = model.bytesReadPerToken(ids.length - 1);
      // Tied, and positions are rotary: everything in the file is read once.
      expect(packed.head).toBe(packed.embedding);
      expect(sumOf(read)).toBe(tensorBytes(out));
      expect(read.linears).toBe(packed.quality.layers.reduce((sum, { storedBytes }) => sum + storedBytes, 0));
      expect(read.embedding).toBe(
        Math.ceil(packed.embedding.storedBytes / packed.architecture.vocabularySize),
      );
      packed.close();
      // After 128 tokens the first segment of every block's cache is full, no room is left unread.
      const session = await model.createSession({ contextLength: 256 });
      await session.feed(ids);
      expect(session.position).toBe(128);
      expect(read.kvCache).toBe(session.cacheBytes);
      session.close();
      await model.close();
      for (const keyValueCache of ['f16', 'int8'] as const) {
        const smaller = await createPackedTextModel(out, { threads: 1, keyValueCache });
        const other = await smaller.createSession({ contextLength: 256 });
        await other.feed(ids);
        expect(smaller.bytesReadPerToken(ids.length - 1)).toEqual({ ...read, kvCache: other.cacheBytes });
        other.close();
        await smaller.close();
      }
    },
  );
});

test('what one token reads of a model in full precision is what onnxruntime holds of it', async () => {
  const source = await openModel(bundled.model);
  const model = await createFloatTextModel(source, { threads: 1, weights: 'resident' });
  const session = await model.createSession({ contextLength: 256 });
  await session.feed(Int32Array.from({ length: 256 }, (_, index) => index + 5));
  const read = model.bytesReadPerToken(255);
  const { blockWeights, head } = model.memoryBytes as { blockWeights: number; head: number };
  expect(sumOf(read)).toBe(blockWeights + head);
  expect(read.kvCache).toBe(session.cacheBytes);
  session.close();
  await model.close();
  source.close();
});

test('a sliding window bounds what is read of the cache', () => {
  const of = (slidingWindow: number | null, depth: number) =>
    keyValueBytesRead(
      { blocks: [1, 2, 3], keyValueHeadCount: 2, headDimension: 8, slidingWindow } as never,
      depth,
    );
  // Keys and values · blocks · heads · dimensions · float32.
  const position = 2 * 3 * 2 * 8 * 4;
  expect([0, 1, 99].map((depth) => of(null, depth))).toEqual([position, 2 * position, 100 * position]);
  expect([0, 62, 63, 64, 99].map((depth) => of(64, depth))).toEqual(
    [1, 63, 64, 64, 64].map((positions) => positions * position),
  );
});

test('a benchmark gives the mean over the tokens that it decoded at each depth', async () => {
  const result = await runBenchmark(async () => new ScriptedTextModel([1, 2, 3], 8), 0, {
    ...{ threads: 1, promptTokens: [4], decodeDepths: [0, 10], generateTokens: 5, repetitions: 1 },
  });
  expect(result.bytesReadPerToken).toEqual({
    '0': { linears: 1000, head: 100, embedding: 10, others: 1, kvCache: 8 * (1 + 2) },
    '10': { linears: 1000, head: 100, embedding: 10, others: 1, kvCache: 8 * (11 + 2) },
  });
});

describe('the memory’s bandwidth', () => {
  test('is measured by reading a buffer beyond the cache, and says how', () => {
    const measured = measureMemoryBandwidth(1);
    expect(measured.threads).toBe(1);
    expect(measured.bufferBytes).toBeGreaterThanOrEqual(16 * 2 ** 20);
    expect(measured.method).toContain('shortest of 12 passes');
    // Slower than any memory of the last twenty years, faster than any core: a busy machine stays between.
    expect(measured.bytesPerSecond).toBeGreaterThan(50e6);
    expect(measured.bytesPerSecond).toBeLessThan(10e12);
  });

  test('in turns is the median of what each turn measured, all of which are kept', () => {
    const at = (bytesPerSecond: number): MemoryBandwidth => ({
      ...{
        bytesPerSecond,
        method: 'given',
        bufferBytes: 1,
        passes: 12,
        threads: 2,
        lastLevelCacheBytes: null,
      },
    });
    expect(medianBandwidth([at(30), at(90), at(40), at(50)])).toEqual({
      ...at(45),
      method: 'given; the median of 4 such measurements in turns with what is compared',
      turnsBytesPerSecond: [30, 90, 40, 50],
    });
    expect(() => medianBandwidth([])).toThrow('the memory was not measured');
  });

  test('in turns is measured beside the measurements, not beside the warm-up, with one size of buffer', async () => {
    let turns = 0;
    const control = { turn: async () => void ++turns, progress() {} } as unknown as TaskControl;
    const input = { threads: 1, turns: { warmUp: 2, measured: 3 } };
    const measured = await memoryBandwidthTask(input, control);
    expect(turns).toBe(5);
    expect(measured.turnsBytesPerSecond).toHaveLength(3);
    expect(measured.bufferBytes).toBeGreaterThanOrEqual(16 * 2 ** 20);
    expect(measureMemoryBandwidth(1, 16 * 2 ** 20).bufferBytes).toBe(16 * 2 ** 20);
  });

  test('a benchmark stands at as many borders as are foretold', async () => {
    const settings = { promptTokens: [4, 5], decodeDepths: [0], repetitions: 3 };
    let borders = 0;
    await runBenchmark(
      async () => new ScriptedTextModel([1, 2, 3], 8),
      0,
      { ...settings, threads: 1, generateTokens: 2 },
      { border: async () => void ++borders },
    );
    const { warmUp, measured } = bordersOf(settings);
    expect(borders).toBe(warmUp + measured);
    expect(measured).toBe(9);
  });

  test('bounds decoding unless what is read fits the last cache', () => {
    const bandwidth: MemoryBandwidth = {
      ...{ bytesPerSecond: 10e9, method: 'given', bufferBytes: 1, passes: 1, threads: 2 },
      lastLevelCacheBytes: 32e6,
    };
    expect(bandwidthShare(50, 100e6, bandwidth)).toBeCloseTo(0.5, 12);
    expect(bandwidthShare(50, 32e6, bandwidth)).toBeNull();
    expect(bandwidthShare(50, 1e6, { ...bandwidth, lastLevelCacheBytes: null })).toBeCloseTo(0.005, 12);
  });
});
