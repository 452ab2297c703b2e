import { askOnce } from './ask-once.ts';
import type { GpuContext } from './context.ts';
import { kernel } from './kernels/kernel.ts';
import { gpuLimits } from './limits.ts';
import { dispatchOnce } from './single-dispatch.ts';

const threads = gpuLimits.workgroupSize;
/** Numbers whose sum depends on the order in which they are added. */
const values = Float32Array.from({ length: threads }, (_, lane) => 1 / (3 * lane + 1));
const largestLane = threads - 7;

const check = kernel({
  key: 'subgroups',
  parameters: ['largest_lane: u32'],
  buffers: [
    ['values', 'read', 'f32'],
    ['out', 'write', 'f32'],
  ],
  workgroup: [threads],
  reduces: true,
  body: `
  let value = values[local.x];
  let sum = reduce_sum(local.x, value);
  let bits = reduce_bits(local.x, select(local.x, 0u, local.x > p.largest_lane));
  let maximum = reduce_max(local.x, -value);
  out[3u * local.x] = sum;
  out[3u * local.x + 1u] = f32(bits);
  out[3u * local.x + 2u] = maximum;`,
});

/** What every thread must get: sum, bits, maximum. */
function expected(): number[] {
  let sums = [...values];
  while (sums.length > 1) {
    const half = sums.length / 2;
    sums = sums.slice(0, half).map((value, lane) => Math.fround(value + sums[lane + half]!));
  }
  return [sums[0]!, largestLane, -values.at(-1)!];
}

/**
 * Has kernels reduce by subgroup operations where the device offers them and they give what workgroup memory gives; tried once on each device, before its kernels are
 * compiled. WGSL promises neither which threads a subgroup has nor that all its places are taken, and a driver may fail to compile them. Throws DBellError `device-lost`.
 */
export const trySubgroups = askOnce(async (context: GpuContext): Promise<void> => {
  if (context.offeredSubgroupWidth === 0) return;
  context.subgroupWidth = context.offeredSubgroupWidth;
  if (!(await reducesRightly(context))) context.subgroupWidth = 0;
});

async function reducesRightly(context: GpuContext): Promise<boolean> {
  try {
    const results = await context.checked('subgroups', () =>
      dispatchOnce(context, check, { largest_lane: largestLane }, values, 3 * threads),
    );
    const wanted = expected();
    return results.every((result, index) => result === wanted[index % 3]);
  } catch (error) {
    if (context.isLost) throw error;
    return false;
  }
}
