import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openModel } from '../../engine/model/open.ts';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { TextModel } from '../../engine/model/text-model.ts';
import { openPackage } from '../../engine/package/open.ts';
import type { ActivationBits } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { availableKernels } from '../../engine/runtime/verification.ts';
import { collectGarbage } from '../../scripts/collect-garbage.ts';
import { bundled } from '../assets.ts';
import { finishOptions, packTinyModel, randomLinear, writeBlocks } from './package-support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'dbell-runtime-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two blocks of the bundled model, context 512: large enough for several chunks, cache segments and threads. */
let grid: string;
let structured: string;
/** Three levels in base 3, and residual columns. */
let ternary: string;
beforeAll(async () => {
  const source = await openModel(bundled.model);
  const random = new SeededRandom(3);
  for (const layout of ['grid', 'structured', 'ternary'] as const) {
    const out = path.join(folder, layout);
    const edit = (block: Parameters<NonNullable<Parameters<typeof packTinyModel>[2]>['edit'] & {}>[0]) => {
      if (layout === 'structured')
        block.linears = block.linears.map((linear) => {
          const made = randomLinear(linear.name, linear.outFeatures, linear.inFeatures, { layout }, random);
          return made;
        });
    };
    const kind = layout === 'ternary' ? { levels: 3, residualShare: 0.1 } : { levels: 4 };
    const options = { ...kind, embeddingBits: layout === 'structured' ? (8 as const) : (16 as const), edit };
    await writeBlocks(source, out, options).finish(finishOptions(source, options));
    if (layout === 'grid') grid = out;
    else if (layout === 'structured') structured = out;
    else ternary = out;
  }
  source.close();
}, 60_000);

const ids = Int32Array.from({ length: 400 }, (_, index) => (index * 7919) % 4000);

async function withModel<T>(
  options: { packagePath: string; threads?: number; activationBits?: ActivationBits },
  use: (model: TextModel) => Promise<T>,
): Promise<T> {
  const { packagePath, threads = 2, activationBits } = options;
  const model = await createPackedTextModel(packagePath, { threads, activationBits });
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

async function logitsOf(model: TextModel, pieces: Int32Array[]): Promise<Float32Array> {
  const session = await model.createSession();
  let logits = new Float32Array();
  for (const piece of pieces) logits = (await session.feed(piece)).slice();
  session.close();
  return logits;
}

function cut(length: number, sizes: number[]): Int32Array[] {
  const pieces: Int32Array[] = [];
  for (let begin = 0, index = 0; begin < length; index += 1) {
    const end = Math.min(length, begin + sizes[index % sizes.length]!);
    pieces.push(ids.subarray(begin, end));
    begin = end;
  }
  return pieces;
}

afterEach(() => {
  delete process.env.DBELL_FORCE_ISA;
});

describe.each([16, 8, 6, 4] as const)('activations of %d bits', (activationBits) => {
  test.each(['grid', 'structured', 'ternary'])(
    '%s: tokens one by one, in pieces and at once give the same bits',
    async (layout) => {
      const packagePath = { grid, structured, ternary }[layout]!;
      for (const kernels of availableKernels()) {
        process.env.DBELL_FORCE_ISA = kernels;
        const length = kernels === 'generic' ? 12 : 300;
        await withModel({ packagePath, activationBits }, async (model) => {
          expect(model.kernelPath).toBe(activationBits === 16 ? `float-${kernels}` : kernels);
          const whole = await logitsOf(model, [ids.subarray(0, length)]);
          expect(await logitsOf(model, cut(length, [3, 130, 1, 17]))).toEqual(whole);
          if (length < 100) expect(await logitsOf(model, cut(length, [1]))).toEqual(whole);
          const last = length - 3;
          expect(
            await logitsOf(model, [
              ids.subarray(0, last),
              ...[0, 1, 2].map((i) => ids.subarray(last + i, last + i + 1)),
            ]),
          ).toEqual(whole);
        });
      }
    },
  );

  test.each(['structured', 'ternary'])('%s: the number of threads changes nothing', async (layout) => {
    const packagePath = { structured, ternary }[layout]!;
    const results = [];
    for (const threads of [1, 2, 3])
      results.push(
        await withModel({ packagePath, activationBits, threads }, async (model) => {
          const session = await model.createSession();
          return { losses: await session.tokenLosses(ids), logits: (await session.feed(ids)).slice() };
        }),
      );
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });
});

test.each(['grid', 'ternary'])(
  '%s: instruction sets agree bit for bit where activations are integers, up to attention and norms',
  async (layout) => {
    const packagePath = { grid, ternary }[layout]!;
    const all = [];
    for (const kernels of availableKernels().filter((name) => name !== 'generic')) {
      process.env.DBELL_FORCE_ISA = kernels;
      all.push(
        await withModel({ packagePath, activationBits: 8 }, (model) => logitsOf(model, [ids.subarray(0, 1)])),
      );
    }
    for (const logits of all) expect(logits).toEqual(all[0]);
  },
);

test('an instruction set that does not exist is refused', async () => {
  process.env.DBELL_FORCE_ISA = 'avx9000';
  await expect(createPackedTextModel(grid, { threads: 1 })).rejects.toMatchObject({
    code: 'invalid-input',
    message: expect.stringContaining('DBELL_FORCE_ISA: instruction set "avx9000" cannot run on this machine'),
  });
});

test('losses are those of the logits', async () => {
  await withModel({ packagePath: grid, activationBits: 8 }, async (model) => {
    const session = await model.createSession();
    const losses = await session.tokenLosses(ids.subarray(0, 290));
    expect(session.position).toBe(0);
    expect(losses).toHaveLength(289);
    for (const index of [0, 1, 254, 255, 256, 288]) {
      session.reset();
      const logits = await session.feed(ids.subarray(0, index + 1));
      const largest = Math.max(...logits);
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
      expect(losses[index]).toBeCloseTo(largest + Math.log(total) - logits[ids[index + 1]!]!, 5);
    }
    expect(await session.tokenLosses(ids.subarray(0, 1))).toHaveLength(0);
  });
});

test('the activation bits default to the package’s', async () => {
  const source = await openPackage(grid);
  const model = await createPackedTextModel(source, { threads: 1 });
  expect(model.activationBits).toBe(source.activationBits);
  expect(model.memoryBytes.weights).toBe(source.modelBytes);
  source.close();
  const session = await model.createSession();
  expect(session.cacheBytes).toBe(0);
  await session.feed(ids.subarray(0, 5));
  expect(session.cacheBytes).toBe(model.memoryBytes.cache);
  expect(session.cacheBytes).toBeGreaterThan(0);
  await model.close();
  await expect(session.feed(ids.subarray(0, 1))).rejects.toThrow('closed');
  await expect(model.createSession()).rejects.toThrow('the packed model is closed');
});

test('what does not fit is refused with the numbers, and the session stays usable', async () => {
  await withModel({ packagePath: grid, activationBits: 8 }, async (model) => {
    const session = await model.createSession({ contextLength: 10 });
    await session.feed(ids.subarray(0, 8));
    await expect(session.feed(ids.subarray(0, 3))).rejects.toMatchObject({
      code: 'invalid-input',
      message: '3 tokens after 8 do not fit the context of 10; use fewer tokens or a longer context',
    });
    expect(session.position).toBe(8);
    await expect(session.feed(Int32Array.of(model.vocabularySize))).rejects.toThrow(
      `token id ${model.vocabularySize} is outside the vocabulary of ${model.vocabularySize} tokens`,
    );
    await expect(session.feed(Int32Array.of(-1))).rejects.toThrow('token id -1');
    await expect(session.feed(new Int32Array())).rejects.toThrow('at least one token');
    await session.feed(ids.subarray(8, 10));
    const other = await model.createSession();
    expect(await other.feed(ids.subarray(0, 10))).toEqual(await logitsOf(model, [ids.subarray(0, 10)]));
    await expect(model.createSession({ contextLength: model.contextLength + 1 })).rejects.toThrow(
      `context length is ${model.contextLength + 1}; the model allows 1 to ${model.contextLength}`,
    );
  });
  for (const activationBits of [5, 0, 32])
    await expect(
      createPackedTextModel(grid, { threads: 1, activationBits: activationBits as ActivationBits }),
    ).rejects.toThrow(`activation bits are ${activationBits}; 16, 8, 6, 4 are possible`);
  await expect(createPackedTextModel(grid, { threads: -1 })).rejects.toThrow('threads is -1');
  await expect(createPackedTextModel(path.join(folder, 'none'), { threads: 1 })).rejects.toMatchObject({
    code: 'not-found',
  });
});

test('an abort stops a long prompt between two chunks', async () => {
  const controller = new AbortController();
  const model = await createPackedTextModel(grid, { threads: 1, signal: controller.signal });
  const session = await model.createSession();
  const running = session.feed(ids);
  controller.abort();
  await expect(running).rejects.toMatchObject({ code: 'stopped' });
  expect(session.position).toBeLessThan(ids.length);
  await model.close();
});

test('200 times loading, running and closing leave nothing behind', async () => {
  const packagePath = await packTinyModel('llama-odd-widths', path.join(folder, 'cycles'));
  const cycle = () =>
    withModel({ packagePath, activationBits: 8 }, async (model) => {
      await logitsOf(model, [ids.subarray(0, 64).map((id) => id % 200)]);
    });
  for (let index = 0; index < 50; index += 1) await cycle();
  collectGarbage();
  const before = process.memoryUsage().rss;
  for (let index = 0; index < 200; index += 1) await cycle();
  collectGarbage();
  // A model's cache and buffers alone take 300 KiB: a leak would show as 60 MiB.
  const grownBytes = process.memoryUsage().rss - before;
  console.log(`resident memory grew by ${grownBytes} bytes over 200 cycles`);
  expect(grownBytes).toBeLessThan(24 * 2 ** 20);
});
