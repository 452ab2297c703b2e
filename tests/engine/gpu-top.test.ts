import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { type TopRequest, topLimits, totalWeightBound } from '../../engine/model/top-logits.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { type GpuContext, readBack, UniformPages, usage } from '../../engine/runtime/webgpu/context.ts';
import type { GpuPackage } from '../../engine/runtime/webgpu/gpu-package.ts';
import { chunkFields } from '../../engine/runtime/webgpu/kernels/kernel.ts';
import { topSlices } from '../../engine/runtime/webgpu/kernels/top.ts';
import { Program } from '../../engine/runtime/webgpu/program.ts';
import { TopSelection } from '../../engine/runtime/webgpu/top-selection.ts';
import type { ToWindow } from '../../engine/runtime/webgpu/window/protocol.ts';
import { windowProvider } from '../../engine/runtime/webgpu/window/window-provider.ts';
import { makePackage, windowsOf } from '../../scripts/acceptance/agreement-packages.ts';
import { asset } from '../assets.ts';
import { openTestContext, sharedDevice, testAdapter } from './gpu-support.ts';
import { describeGpuTop, expectSameIds } from './gpu-top-suite.ts';
import { packTinyModel, tinyModels } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-gpu-top-'));
const adapter = await testAdapter();
let context: GpuContext;
let device: Device;
beforeAll(async () => {
  if (adapter === null) return;
  context = await openTestContext(adapter);
  device = sharedDevice(context);
});
afterAll(() => {
  context?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the kernels over logits, once for each request. */
async function select(logits: Float32Array<ArrayBuffer>, requests: readonly TopRequest[]) {
  const { queue } = context.device;
  const buffer = context.createBuffer('scratch', 'logits', 4 * logits.length);
  const chunk = context.createBuffer('scratch', 'chunk', 4 * chunkFields.length, usage.uniform);
  const uniforms = new UniformPages(context);
  const selection = new TopSelection(context, buffer, logits.length);
  const program = await Program.build(context, chunk, uniforms, selection.steps);
  queue.writeBuffer(buffer, 0, logits);
  const results = [];
  for (const request of requests) {
    const bytes = 4 * selection.resultWords(request);
    const staging = context.createStaging(bytes);
    selection.write(request);
    const encoder = context.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    program.encode(pass, 1);
    pass.end();
    encoder.copyBufferToBuffer(selection.result, 0, staging, 0, bytes);
    queue.submit([encoder.finish()]);
    results.push(selection.decode(new Float32Array(await readBack(context, staging, bytes)), request));
    context.destroyBuffer('scratch', staging);
  }
  selection.destroy();
  uniforms.destroy();
  for (const used of [buffer, chunk]) context.destroyBuffer('scratch', used);
  return results;
}

const random = new SeededRandom(17);
/** About normal, with a deviation of 2. */
const logit = () => 2 * [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].reduce((sum) => sum + random.nextDouble(), -6);
const largest = Math.fround(3.4028234663852886e38);
const kinds: Record<string, (id: number, vocabulary: number) => number> = {
  random: logit,
  'few values': () => Math.round(logit()),
  'all equal': () => -3.25,
  'zeros of both signs': (id) => (id % 3 === 0 ? -0 : id % 7 === 0 ? -1e-3 : 0),
  'very negative': () => -1e30 * random.nextDouble(),
  'the lowest there is': () => -largest,
  'from the lowest to the highest there is': (id) => (id % 2 ? 1 : -1) * largest * random.nextDouble(),
  'below the normal numbers': () => 1e-39 * logit(),
  rising: (id) => id / 64,
  falling: (id) => -id / 64,
  'highest in the last slice': (id, vocabulary) => logit() + (id > vocabulary - 90 ? 50 : 0),
};
const requests: TopRequest[] = [
  { count: 1, temperature: 1 },
  { count: 7, temperature: 0.05 },
  { count: topLimits.count, temperature: 2.5 },
  { count: 3, temperature: topLimits.highestTemperature },
  { count: 2, temperature: topLimits.leastTemperature },
];

async function expectRight(logits: Float32Array<ArrayBuffer>, bound: number) {
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
  for (const [index, found] of (await select(logits, requests)).entries()) {
    const { count, temperature } = requests[index]!;
    const expected = order.slice(0, count);
    expect([...found!.ids]).toEqual(expected);
    // + 0: the device tells −0 as 0.
    expect([...found!.logits]).toEqual(expected.map((id) => logits[id]! + 0));
    const highest = logits[order[0]!]!;
    let total = 0;
    for (const value of logits) total += Math.exp((value - highest) / temperature);
    expect(Math.abs(found!.totalWeight / total - 1)).toBeLessThan(bound);
  }
}

/** What `totalWeightBound` says of slices of 1024; the rest of that bound is for larger vocabularies. */
const boundOfSmallSlices = 3e-6;

describe.skipIf(adapter === null)('the highest logits on the device', () => {
  test.each([1, 2, 63, 512, 513, 1024, 1025, 1087, 2049])(
    'of %d: those of a plain sort, and the weight of all within its bound',
    async (vocabulary) => {
      for (const make of Object.values(kinds)) {
        const logits = Float32Array.from({ length: vocabulary }, (_, id) => make(id, vocabulary));
        await expectRight(logits, boundOfSmallSlices);
      }
    },
  );

  test.each([
    [49_152, 'random', 1024],
    [49_152, 'few values', 1024],
    [151_936, 'highest in the last slice', 1024],
    [262_144, 'random', 1024],
    [262_145, 'all equal', 1088],
    [700_001, 'random', 2752],
  ] as const)('of %d, %s, in slices of %d', async (vocabulary, kind, slice) => {
    expect(topSlices(vocabulary).slice).toBe(slice);
    const make = kinds[kind]!;
    const logits = Float32Array.from({ length: vocabulary }, (_, id) => make(id, vocabulary));
    await expectRight(logits, slice === 1024 ? boundOfSmallSlices : totalWeightBound);
  });

  test('one that is not finite is told of, wherever it stands', async () => {
    for (const vocabulary of [1, 1500])
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
        for (const at of [0, Math.floor(vocabulary / 2), vocabulary - 1]) {
          const logits = Float32Array.from({ length: vocabulary }, logit);
          logits[at] = bad;
          expect(await select(logits, requests.slice(0, 1))).toEqual([null]);
        }
  });
});

describeGpuTop(adapter !== null, folder, () => device);

test('what a window answers is checked: as many as there must be, of the vocabulary', async () => {
  const state = { position: 1, cacheBytes: 0, scratchBytes: 0, kernelMs: null };
  const right = { ids: Int32Array.of(7, 3), logits: Float32Array.of(2, 1), totalWeight: 1.5 };
  const answers: Record<string, unknown> = {
    load: { model: 1, kernelPath: 'webgpu-dot4', tokensPerChunk: 64, memoryBytes: {}, uploadMs: 0 },
    'create-session': { session: 2, state },
  };
  const asked: string[] = [];
  const provider = windowProvider(async () => {
    let receive: (message: unknown) => void = () => {};
    return {
      send(raw) {
        const { id, name } = raw as ToWindow & { name: string };
        asked.push(name);
        queueMicrotask(() => receive({ type: 'result', id, result: answers[name] }));
      },
      onMessage(listener) {
        receive = listener;
      },
      onClose() {},
      close() {},
    };
  });
  const description = { vocabularySize: 9 } as GpuPackage['description'];
  const source = { path: '', description, isHeadTied: true, read: async () => new Uint8Array() };
  const model = await provider.load(0, source, { activationBits: 8, keyValueCache: 'f32' });
  const session = await model.createSession(8);
  const feedTop = (top: unknown) => {
    answers['feed-top'] = { top, state };
    return session.feedTop!(Int32Array.of(1), { count: 2, temperature: 1 });
  };
  const top = await feedTop(right);
  expect(top).toMatchObject(right);
  answers['all-logits'] = new Float32Array(9).fill(2);
  expect(await top.all()).toEqual(answers['all-logits']);
  expect(asked.slice(2)).toEqual(['feed-top', 'all-logits']);
  answers['all-logits'] = new Float32Array(8);
  for (const wrong of [
    () => top.all(),
    () => feedTop({ ...right, ids: Int32Array.of(7) }),
    () => feedTop({ ...right, ids: Int32Array.of(7, 9) }),
    () => feedTop({ ...right, ids: Int32Array.of(-1, 3) }),
    () => feedTop({ ...right, logits: Float32Array.of(2, 1, 0) }),
    () => feedTop({ ...right, ids: [7, 3] }),
    () => feedTop({ ...right, totalWeight: Number.NaN }),
    () => feedTop(null),
  ])
    await expect(wrong()).rejects.toMatchObject({ code: 'internal' });
});

/** A copy of a tiny model with other weights of its last norm. */
function writeWithNorm(to: string, weight: number): string {
  cpSync(path.join(tinyModels, 'llama-plain'), to, { recursive: true });
  const file = path.join(to, 'model.safetensors');
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const { dtype, data_offsets: offsets } = header['model.norm.weight']!;
  expect(dtype).toBe('F32');
  for (let at = offsets[0]; at < offsets[1]; at += 4) bytes.writeFloatLE(weight, 8 + headerBytes + at);
  writeFileSync(file, bytes);
  return to;
}

describe.skipIf(adapter === null)('a session', () => {
  test('a logit that is not finite is the same error as where all are read', async () => {
    const model = writeWithNorm(path.join(folder, 'norm'), 3e38);
    const packed = await packTinyModel(model, path.join(folder, 'norm-packed'), { levels: 16 });
    const gpu = await createPackedTextModel(packed, { threads: 1, device, activationBits: 16 });
    const [session, other] = [await gpu.createSession(), await gpu.createSession()];
    const ids = Int32Array.of(5, 6);
    const error = await other.feed(ids).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'invalid-package',
      message: expect.stringMatching(/^logit \d+ is not finite; the package is damaged$/),
    });
    await expect(session.feedTop!(ids, { count: 1, temperature: 1 })).rejects.toEqual(error);
    await gpu.close();
  });

  test('a token reads back its highest logits alone, and leaves nothing', async () => {
    const read: number[] = [];
    const create = context.createStaging.bind(context);
    context.createStaging = (bytes) => {
      const staging = create(bytes);
      const map = staging.mapAsync.bind(staging);
      staging.mapAsync = (mode, offset, size) => {
        read.push(size!);
        return map(mode, offset, size);
      };
      return staging;
    };
    try {
      const packed = await packTinyModel('llama-plain', path.join(folder, 'read'));
      const model = await createPackedTextModel(packed, { threads: 1, device });
      const session = await model.createSession();
      read.length = 0;
      await session.feedTop!(Int32Array.of(5), { count: 1, temperature: 1 });
      await session.feedTop!(Int32Array.of(6), { count: topLimits.count, temperature: 1 });
      await session.feed(Int32Array.of(7));
      // Two words of the only slice, and two a logit; clock and status.
      const others = read[0]! - 4 * (2 + 2);
      expect(others).toBeLessThan(64);
      expect(read).toEqual([others + 4 * 4, others + 4 * (2 + 2 * topLimits.count), others + 4 * 288]);
      expect(model.memoryBytes.scratch).toBe(context.memoryBytes.scratch);
      await model.close();
      expect(context.memoryBytes).toEqual({ weights: 0, cache: 0, scratch: 0 });
    } finally {
      context.createStaging = create;
    }
  });

  const stories = asset('models/stories260k/hf');
  const text = asset('data/tinystories-sample/tinystories_sample.txt');
  test.skipIf(stories === null || text === null)(
    'of a model that has learned: the same ids as on the CPU, nearly always by the highest logits',
    async () => {
      const out = path.join(folder, 'grid-4');
      await makePackage({
        ...{ modelPath: stories!, recipe: 'grid-4', activationBits: 8, embeddingBits: 8, out, threads: 1 },
        calibration: (source) =>
          windowsOf(source, text!, { separatorId: 1, context: 256, windows: 4, skip: 0, path: '' }),
      });
      const prompt = Int32Array.of(1, 403, 407, 261, 378, 31, 417, 277);
      const { tokens, alls } = await expectSameIds(out, device, prompt, 12);
      expect(alls / tokens).toBeLessThan(0.15);
    },
  );
});
