import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Sampling } from '../../engine/contract/generation.ts';
import { nextToken, type PredictingSession } from '../../engine/model/next-token.ts';
import { createSampler, greedyToken, sampleToken, sampleTop } from '../../engine/model/sampling.ts';
import { topLimits, totalWeightBound } from '../../engine/model/top-logits.ts';
import type { Device } from '../../engine/runtime/device.ts';
import { createPackedTextModel } from '../../engine/runtime/packed-text-model.ts';
import { packTinyModel } from './package-support.ts';

const samplings: Sampling[] = [
  { kind: 'greedy' },
  ...[0.05, 0.8, 2].flatMap((temperature, index) =>
    [0.4, 0.95, 1].map((topP, place) => ({
      ...{ kind: 'sampled' as const, temperature, topP },
      seed: 10 * index + place,
    })),
  ),
];

/** A session that counts what is asked of it. */
function counted(
  session: PredictingSession,
): PredictingSession & { feeds: number; tops: number; alls: number } {
  const counting = {
    ...{ feeds: 0, tops: 0, alls: 0 },
    feed(ids: Int32Array) {
      counting.feeds += 1;
      return session.feed(ids);
    },
    feedTop: async (...[ids, request]: Parameters<NonNullable<PredictingSession['feedTop']>>) => {
      counting.tops += 1;
      const top = await session.feedTop!(ids, request);
      return {
        ...top,
        all() {
          counting.alls += 1;
          return top.all();
        },
      };
    },
  };
  return counting;
}

/**
 * The same ids by the device's highest logits as by all logits of the CPU, of a package whose logits are the CPU's bit for bit; and how many tokens took all logits.
 */
export async function expectSameIds(
  packed: string,
  device: Device,
  prompt: Int32Array,
  count: number,
): Promise<{ tokens: number; alls: number }> {
  const cpu = await createPackedTextModel(packed, { threads: 1, activationBits: 8 });
  const gpu = await createPackedTextModel(packed, { threads: 1, activationBits: 8, device });
  const [cpuSession, gpuSession] = [await cpu.createSession(), await gpu.createSession()];
  expect(cpuSession.feedTop).toBeUndefined();
  const counting = counted(gpuSession);
  for (const sampling of samplings) {
    cpuSession.reset();
    gpuSession.reset();
    const [onCpu, onGpu] = [createSampler(sampling), createSampler(sampling)];
    const ids: number[][] = [[], []];
    let next = prompt;
    for (let token = 0; token < count; token++) {
      const expected = onCpu(await cpuSession.feed(next));
      ids[0]!.push(expected);
      ids[1]!.push(await nextToken(counting, next, onGpu));
      next = Int32Array.of(expected);
    }
    expect(ids[1], JSON.stringify(sampling)).toEqual(ids[0]);
    expect(gpuSession.position).toBe(cpuSession.position);
  }
  expect(counting.feeds).toBe(0);
  expect(counting.tops).toBe(samplings.length * count);
  await gpu.close();
  await cpu.close();
  return { tokens: counting.tops, alls: counting.alls };
}

/** Choosing by the highest logits, of a session on a device or behind a window's port. */
export function describeGpuTop(isThere: boolean, folder: string, device: () => Device): void {
  describe.skipIf(!isThere)('the highest logits of a session', () => {
    const prompt = Int32Array.from({ length: 70 }, (_, index) => 3 + ((index * 41) % 280));

    test('are those of all its logits, which can be read behind them', async () => {
      const packed = await packTinyModel('llama-plain', path.join(folder, 'top'), { levels: 4 });
      const model = await createPackedTextModel(packed, { threads: 1, device: device() });
      const [session, other] = [await model.createSession(), await model.createSession()];
      for (const [ids, count, temperature] of [
        [prompt, topLimits.count, 0.8],
        [Int32Array.of(9), 1, 1],
        [Int32Array.of(11), 7, 100],
      ] as const) {
        const expected = (await other.feed(ids)).slice();
        const top = await session.feedTop!(ids, { count, temperature });
        expect(session.kernelMs === null).toBe(other.kernelMs === null);
        const order = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]! || a - b);
        expect([...top.ids]).toEqual(order.slice(0, count));
        expect([...top.logits]).toEqual(order.slice(0, count).map((id) => expected[id]!));
        const highest = expected[greedyToken(expected)]!;
        const total = expected.reduce((sum, logit) => sum + Math.exp((logit - highest) / temperature), 0);
        expect(Math.abs(top.totalWeight / total - 1)).toBeLessThan(totalWeightBound);
        expect(await top.all()).toEqual(expected);
        for (const topP of [0.1, 0.5, 0.9, 1])
          for (let draw = 0; draw < 50; draw++) {
            const point = (draw + 0.5) / 50;
            const chosen = sampleTop(top, temperature, topP, point);
            if (chosen !== null) expect(chosen).toBe(sampleToken(expected, temperature, topP, point));
          }
        expect(session.position).toBe(other.position);
      }
      for (const request of [
        { count: 0, temperature: 1 },
        { count: topLimits.count + 1, temperature: 1 },
        { count: 1.5, temperature: 1 },
        { count: 1, temperature: 0 },
        { count: 1, temperature: Number.NaN },
        { count: 1, temperature: 101 },
      ])
        await expect(session.feedTop!(Int32Array.of(5), request)).rejects.toMatchObject({
          code: 'invalid-input',
          message: expect.stringContaining('are possible'),
        });
      await model.close();
    });

    test('choose the same ids as all logits of the CPU; all are read where they leave it open', async () => {
      // Random weights: nearly every token of the vocabulary belongs to a nucleus.
      const packed = await packTinyModel('qwen3', path.join(folder, 'top-qwen3'), {
        levels: 16,
        embeddingBits: 8,
      });
      const { tokens, alls } = await expectSameIds(packed, device(), prompt.subarray(0, 6), 4);
      expect(alls).toBeGreaterThan(0);
      expect(alls).toBeLessThan(tokens);
    });
  });
}
