import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { kernel } from '../../engine/runtime/webgpu/kernels/kernel.ts';
import { dispatchOnce } from '../../engine/runtime/webgpu/single-dispatch.ts';
import { trySubgroups } from '../../engine/runtime/webgpu/subgroup-check.ts';
import { openTestContext, testAdapter } from './gpu-support.ts';
import { signedUniform } from './package-support.ts';

// Reductions over a workgroup, by subgroup operations and through workgroup memory: the same bits, in the order that the CPU's kernels have. SwiftShader's subgroups have four threads.

const adapter = await testAdapter();
const random = new SeededRandom(5);

const reduction = (threads: number) =>
  kernel({
    key: `reductions of ${threads}`,
    parameters: ['unused: u32'],
    buffers: [
      ['values', 'read', 'f32'],
      ['out', 'write', 'f32'],
    ],
    workgroup: [threads],
    reduces: true,
    body: `
  let value = values[local.x];
  let sum = reduce_sum(local.x, value);
  let maximum = reduce_max(local.x, value);
  let bits = reduce_bits(local.x, bitcast<u32>(abs(value)));
  out[4u * local.x] = sum;
  out[4u * local.x + 1u] = maximum;
  out[4u * local.x + 2u] = bitcast<f32>(bits);
  out[4u * local.x + 3u] = reduce_sum(local.x, -value);`,
  });

/** Halves joined to halves, each sum rounded. */
function sumOfHalves(values: readonly number[]): number {
  if (values.length === 1) return values[0]!;
  const half = values.length / 2;
  return sumOfHalves(values.slice(0, half).map((value, lane) => Math.fround(value + values[lane + half]!)));
}

describe.skipIf(adapter === null).each([
  ['in subgroups', 4, 4],
  ['through workgroup memory', Number.POSITIVE_INFINITY, 0],
] as const)('reductions %s', (_, smallestSubgroup, width) => {
  let context: GpuContext;
  beforeAll(async () => {
    context = await openTestContext(adapter!, { smallestSubgroup });
    await trySubgroups(context);
  });
  afterAll(() => context?.close());

  test.each([64, 32])('of %d threads have the order that is laid down, in every thread', async (threads) => {
    expect(context.subgroupWidth).toBe(width);
    for (let round = 0; round < 20; round++) {
      const values = Float32Array.from(
        { length: threads },
        () => signedUniform(random) * 10 ** (8 * signedUniform(random)),
      );
      const results = await dispatchOnce(context, reduction(threads), { unused: 0 }, values, 4 * threads);
      const magnitudes = values.map(Math.abs);
      const wanted = [
        sumOfHalves([...values]),
        Math.max(...values),
        Math.max(...magnitudes),
        sumOfHalves([...values].map((value) => -value)),
      ];
      expect([...results]).toEqual(Array.from({ length: threads }, () => wanted).flat());
    }
  });
});

test.skipIf(adapter === null)(
  'a device whose subgroups are not what it says goes through workgroup memory',
  async () => {
    const context = await openTestContext(adapter!, { smallestSubgroup: 4 });
    expect(context.offeredSubgroupWidth).toBe(4);
    // Four threads know nothing of the four beside them.
    Object.assign(context, { offeredSubgroupWidth: 8 });
    await trySubgroups(context);
    expect(context.subgroupWidth).toBe(0);
    context.close();
  },
);

test.skipIf(adapter === null)('a driver that fails at subgroups is asked for none', async () => {
  const context = await openTestContext(adapter!, { smallestSubgroup: 4 });
  const create = context.device.createComputePipelineAsync.bind(context.device);
  context.device.createComputePipelineAsync = (descriptor) =>
    descriptor.label === 'subgroups' ? Promise.reject(new Error('the driver fails')) : create(descriptor);
  await trySubgroups(context);
  expect(context.subgroupWidth).toBe(0);
  const values = Float32Array.from({ length: 64 }, (_, lane) => lane);
  expect((await dispatchOnce(context, reduction(64), { unused: 0 }, values, 256))[0]).toBe(2016);
  context.close();
});
