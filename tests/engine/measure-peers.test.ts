import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { type BenchmarkPeer, kernelTableSchema } from '../../engine/contract/measurement.ts';
import { measureKernelTable } from '../../engine/measure/kernel-table.ts';
import { onnxruntimeTypes } from '../../engine/measure/peers/onnxruntime-graph.ts';
import { openOnnxruntime } from '../../engine/measure/peers/onnxruntime-model.ts';
import { speedRatios } from '../../engine/measure/peers/speed-ratios.ts';
import { type ModelShape, modelShapes } from '../../engine/model/model-shapes.ts';
import { openModel } from '../../engine/model/open.ts';
import { machine } from '../../engine/native/machine.ts';
import { type KernelName, runtime } from '../../engine/native/runtime.ts';
import { shapeParameters } from '../../engine/package/synthetic/synthetic-config.ts';
import {
  shapeForType,
  syntheticGgufTypes,
  unreadEmbeddingBytes,
  writeSyntheticGguf,
} from '../../engine/package/synthetic/synthetic-gguf.ts';
import { type CaseRun, fairRatio, type PeerSummary, summarise } from '../../scripts/bench-peers/results.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-peers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const small: ModelShape = { ...modelShapes.tiny, vocabularySize: 320, contextLength: 64 };
const ids = Int32Array.from({ length: 12 }, (_, index) => (index * 37) % 320);

describe('onnxruntime as a peer', () => {
  test.each(onnxruntimeTypes)('%s: token by token is what all at once is', async (type) => {
    const { model, facts } = await openOnnxruntime(small, type, 1);
    expect(facts.version).toMatch(/^onnxruntime-node \d/);
    const session = await model.createSession({ contextLength: 64 });
    const whole = Float32Array.from((await session.feed(ids)) as Float32Array);
    expect(whole).toHaveLength(320);
    await session.reset();
    let single = new Float32Array();
    for (const id of ids) single = Float32Array.from((await session.feed(Int32Array.of(id))) as Float32Array);
    const scale = Math.max(...whole.map(Math.abs));
    expect(scale).toBeGreaterThan(0.1);
    expect(Math.max(...whole.map((value, index) => Math.abs(value - (single[index] ?? 0))))).toBeLessThan(
      1e-3 * scale,
    );
    // Other tokens before the last one are seen through the cache.
    await session.reset();
    const other = (await session.feed(ids.map((id, index) => (index === 0 ? id + 1 : id)))) as Float32Array;
    expect(other).not.toEqual(whole);
    await session.close();
    await model.close();
  });
});

describe('GGUF files of random weights', () => {
  test.each(syntheticGgufTypes)('%s is read as what it is', async (type) => {
    const file = path.join(folder, `${type}.gguf`);
    const { bytes } = await writeSyntheticGguf(file, small, type);
    const model = await openModel(file);
    expect(model.fileBytes).toBe(bytes);
    expect(model.parameterCount).toBe(shapeParameters(small));
    const name = 'model.layers.1.mlp.down_proj.weight';
    expect(model.tensors.get(name)?.storedType).toBe(type);
    expect(model.tensors.get('model.embed_tokens.weight')?.storedType).toBe(type);
    const values = model.readFloat32(name);
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    // 1 / √768 columns.
    expect(deviation * Math.sqrt(small.intermediateSize)).toBeGreaterThan(0.8);
    expect(deviation * Math.sqrt(small.intermediateSize)).toBeLessThan(1.2);
    model.close();
  });

  test('a shape whose columns no block divides is widened, and what it has more is known', () => {
    const wide = shapeForType(modelShapes['smollm2-135m'], 'Q1_0');
    expect([wide.hiddenSize, wide.headCount, wide.keyValueHeadCount, wide.intermediateSize]).toEqual([
      640, 10, 5, 1536,
    ]);
    expect(shapeForType(modelShapes['tinyllama-1.1b'], 'TQ2_0')).toBe(modelShapes['tinyllama-1.1b']);
    expect(unreadEmbeddingBytes(wide, 'Q1_0')).toBe(0);
    expect(unreadEmbeddingBytes(modelShapes['tinyllama-1.1b'], 'Q1_0')).toBe((31_999 * 2048 * 18) / 128);
  });

  test('such columns are refused', async () => {
    const file = path.join(folder, 'refused.gguf');
    await expect(writeSyntheticGguf(file, modelShapes['smollm2-135m'], 'Q1_0')).rejects.toThrow(
      '576 columns, which blocks of Q1_0 (128) do not divide',
    );
  });
});

describe('ratios', () => {
  const conditions = (prefill: number[], decode: number[]) => ({
    conditions: {
      prefillRepetitionsTokensPerSecond: { 128: prefill },
      decodeRepetitionsTokensPerSecond: { 0: decode, 9: [1] },
    },
  });
  const ratios = speedRatios(conditions([10, 20, 60], [8, 8, 8]), {
    conditions: {
      prefillRepetitionsTokensPerSecond: { 128: [5, 5, 20], 7: [1] },
      decodeRepetitionsTokensPerSecond: { 0: [4, 2, 4] },
    },
  });

  test('are of repetitions that were measured one behind the other', () => {
    expect(ratios).toEqual({
      prefillRatio: { 128: { median: 3, smallest: 2, largest: 4 } },
      decodeRatio: { 0: { median: 2, smallest: 2, largest: 4 } },
    });
  });

  test('a wider peer is forgiven its weights, and the smallest of all threads counts', () => {
    const peer = { ...ratios, weightRatio: 1.25 } as unknown as BenchmarkPeer;
    expect(fairRatio(peer, 'prefillRatio', 128)).toBe(2.4);
    expect(fairRatio(peer, 'decodeRatio', 5)).toBeNull();
    const run = (threads: number, weightRatio: number, share: number) =>
      ({
        case: { key: 'a', promptTokens: 128 },
        threads,
        result: { memoryBandwidthShare: { 0: share }, peers: [{ ...ratios, weightRatio }] },
      }) as unknown as CaseRun;
    expect(summarise([run(1, 1, 0.4), run(2, 1.25, 0.7)], {})).toEqual({
      decodeRatio: { a: 1.6 },
      prefillRatio: { a: 2.4 },
      rooflineFraction: { a: 0.7 },
      machine: {},
    });
    const failed = { ...run(2, 1, 0.7), result: null };
    expect(summarise([run(1, 1, 0.4), failed], {}).decodeRatio).toEqual({ a: null });
  });
});

test('the comparison runs from end to end, and says which peer is not installed', async () => {
  const script = path.resolve(import.meta.dirname, '../../scripts/bench-peers/main.ts');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [script, '--quick', '--only', 'tinyllama1bit', '--json', '--write'],
    { env: { ...process.env, DBELL_LLAMA_CPP: folder }, maxBuffer: 2 ** 24 },
  );
  expect(stdout).toContain('onnxruntime int4');
  expect(stdout).toContain('node-llama-cpp, by which llama.cpp is measured, is not installed');
  const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as PeerSummary;
  expect(Object.keys(summary)).toEqual(['decodeRatio', 'prefillRatio', 'rooflineFraction', 'machine']);
  // Its own peer is not there; nothing stands in for it.
  expect(summary.decodeRatio).toEqual({ tinyllama1bit: null });
  const kept = JSON.parse(
    readFileSync(path.resolve(import.meta.dirname, '../../build/bench-peers/quick.json'), 'utf8'),
  ) as { runs: CaseRun[] };
  const [run] = kept.runs;
  expect(run?.result?.synthetic).toEqual({ shape: 'tiny', levels: 2, tables: 'grid' });
  // The memory is measured in turns with them: one repetition, one prompt, one depth.
  expect(run?.result?.memoryBandwidth?.turnsBytesPerSecond).toHaveLength(2);
  expect(run?.result?.model).toContain('random weights');
  expect(run?.coldGenerateMs).toBeGreaterThan(50);
  const [missing, measured] = run?.result?.peers ?? [];
  expect(missing?.problem?.code).toBe('not-found');
  expect(measured?.subject?.decodeTokensPerSecond['0']).toBeGreaterThan(0);
  expect(measured?.decodeRatio['0']?.median).toBeGreaterThan(0);
  expect(
    readFileSync(path.resolve(import.meta.dirname, '../../build/bench-peers/performance.md'), 'utf8'),
  ).toMatch(/onnxruntime int4.*cold dbell generate/s);
  expect(existsSync(path.resolve(import.meta.dirname, '../../build/bench-peers/cold'))).toBe(false);
}, 600_000);

describe('kernels by themselves', () => {
  test('every set of this machine is timed in every storage, beside what bounds it', async () => {
    const table = await measureKernelTable(1, { totalBytes: 2 ** 20 });
    const sets = runtime.packedKernelNames();
    expect(new Set(table.rows.map((row) => row.kernels))).toEqual(new Set(sets));
    expect(table.rows).toHaveLength(sets.length * 10);
    expect(kernelTableSchema.parse(table)).toEqual(table);
    for (const row of table.rows) expect(row.peakShare).toBeLessThan(1.5);
    // 1 bit and an fp16 scale for each 128 columns.
    const [first] = table.rows;
    const bytes = ((first?.bytesPerSecond ?? 0) * (first?.microseconds ?? 0)) / 1e6;
    expect(Math.round(bytes)).toBe(((first?.rows ?? 0) * (first?.columns ?? 0) * 9) / 64);
  });

  test('sets that this machine does not have are refused', () => {
    expect(() => machine.measureInt8Peak('none' as KernelName, 1)).toThrow('cannot run on this machine');
    expect(() => machine.timeGridKernel('generic', 4, true, 16, 32, 1, 0, 1)).toThrow('three levels');
  });
});
