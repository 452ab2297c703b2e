import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/model/seeded-random.ts';
import { packing } from '../../engine/native/packing.ts';
import { fusesMultiply } from '../../engine/runtime/webgpu/arithmetic-check.ts';
import type { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import { coding } from '../../engine/runtime/webgpu/kernels/activations.ts';
import {
  division,
  exponential,
  fusedMultiply,
  rounding,
} from '../../engine/runtime/webgpu/kernels/arithmetic.ts';
import { fromHalf, toHalf } from '../../engine/runtime/webgpu/kernels/cache.ts';
import { kernel } from '../../engine/runtime/webgpu/kernels/kernel.ts';
import { dispatchOnce } from '../../engine/runtime/webgpu/single-dispatch.ts';
import { openTestContext, testAdapter } from './gpu-support.ts';

// The shaders' float32 arithmetic against plain definitions in float64, where the device's own division and root are off by as much as WGSL allows too.

const { fround } = Math;
const adapter = await testAdapter();
let context: GpuContext;
beforeAll(async () => {
  if (adapter !== null) context = await openTestContext(adapter);
});
afterAll(() => context?.close());

const bits = new DataView(new ArrayBuffer(8));
/** The float32 `steps` beyond x ≥ 0, 0 at least. */
function beyond(x: number, steps: number): number {
  bits.setFloat32(0, x);
  bits.setInt32(0, Math.max(0, bits.getInt32(0) + steps));
  return bits.getFloat32(0);
}

/** `expression` of a, b, c for every triple. */
function evaluate(functions: string, expression: string, triples: number[][]): Promise<Float32Array> {
  const count = triples.length;
  const evaluated = kernel({
    key: `${expression} ${functions}`,
    parameters: ['count: u32'],
    buffers: [
      ['triples', 'read', 'f32'],
      ['results', 'write', 'f32'],
    ],
    workgroup: [64],
    declarations: functions,
    body: `
  let at = 64u * workgroup.x + local.x;
  if (at >= p.count) { return; }
  let a = triples[3u * at];
  let b = triples[3u * at + 1u];
  let c = triples[3u * at + 2u];
  results[at] = ${expression};`,
  });
  const values = Float32Array.from(triples.flat());
  return dispatchOnce(context, evaluated, { count }, values, count, Math.ceil(count / 64));
}

/** The functions on a device whose division and root are off by `steps` units in the last place. */
const offBy = (steps: number, functions: string) => `
fn off(x: f32) -> f32 { return select(bitcast<f32>(bitcast<u32>(x) + ${steps >= 0 ? steps : 2 ** 32 + steps}u), x, x == 0.0); }
${functions.replace('q = a / b;', 'q = off(a / b);').replace('sqrt(v)', 'off(sqrt(v))').replace('magnitude / scale', 'off(magnitude / scale)')}`;

const random = new SeededRandom(3);
/** Of any size in 10^±`decades`; some with few bits, some at the end of a binade. */
function number(decades: number): number {
  const size = 10 ** (decades * (2 * random.nextDouble() - 1));
  const value = fround(size * (1 + random.nextDouble()));
  const kind = random.nextUint32() % 4;
  if (kind === 0) return 2 ** Math.round(Math.log2(size));
  if (kind === 1) return beyond(2 ** Math.round(Math.log2(size)), -1 - (random.nextUint32() % 3));
  if (kind === 2) return fround(Math.round((value / size) * 64) * 2 ** Math.round(Math.log2(size)));
  return value;
}
const triples = (make: () => number[]) => Array.from({ length: 3000 }, make);

describe.skipIf(adapter === null)('float32 arithmetic of the shaders', () => {
  test.each([-2, 0, 2])(
    'quotients and roots are rounded to nearest, the device being off by %d',
    async (steps) => {
      const pairs = triples(() => [number(12) * (random.nextUint32() % 2 ? 1 : -1), number(12), 0]);
      pairs.push([0, 3, 0]);
      const quotients = await evaluate(offBy(steps, division), 'quotient(a, b)', pairs);
      expect(quotients).toEqual(Float32Array.from(pairs, ([a, b]) => a! / b!));
      const squares = triples(() => {
        const root = number(8);
        return [beyond(fround(root * root), (random.nextUint32() % 5) - 2), 0, 0];
      });
      const roots = await evaluate(offBy(steps, division), 'root(a)', squares);
      expect(roots).toEqual(Float32Array.from(squares, ([a]) => Math.sqrt(a!)));
    },
  );

  test.each([-2, 0, 2])(
    'activations beside a tie fall as defined, the device being off by %d',
    async (steps) => {
      const limits = [127, 31, 7];
      const cases = triples(() => {
        const limit = limits[random.nextUint32() % 3]!;
        const scale = number(10);
        const code = (random.nextUint32() % (2 * limit)) / 2;
        const sign = random.nextUint32() % 2 ? 1 : -1;
        return [sign * beyond(fround(code * scale), (random.nextUint32() % 7) - 3), scale, limit];
      });
      const got = await evaluate(offBy(steps, `${division}${coding}`), 'f32(code_of(a, b, c))', cases);
      const expected = cases.map(([value, scale, limit]) => {
        const quotient = Math.abs(fround(value! / scale!));
        const below = Math.floor(quotient);
        const rest = quotient - below;
        const code = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
        return Math.sign(value!) * Math.min(code, limit!) + 0;
      });
      expect([...got]).toEqual(expected);
    },
  );

  test('every float16 is read exactly, and every float32 is rounded to the nearest', async () => {
    const all = Array.from({ length: 2 ** 16 }, (_, half) => half);
    const values = packing.halfsToFloats(Uint16Array.from(all));
    const read = await evaluate(
      fromHalf,
      'from_half(u32(a))',
      all.map((half) => [half, 0, 0]),
    );
    expect(new Uint32Array(read.buffer).filter((_, at) => !Number.isNaN(values[at]))).toEqual(
      new Uint32Array(values.buffer).filter((_, at) => !Number.isNaN(values[at])),
    );
    // Each finite one, the middle between it and the next, and the float32 beside that.
    const finite = all.slice(0, 0x7c00).map((half) => values[half]!);
    const cases = finite.flatMap((value, half) => {
      const middle = fround((value + (finite[half + 1] ?? 65536)) / 2);
      return [value, beyond(middle, -1), middle, beyond(middle, 1)].flatMap((x) => [x, -x]);
    });
    const halfs = await evaluate(
      toHalf,
      'f32(to_half(a)) + select(0.0, 65536.0, beyond_half(a))',
      cases.map((x) => [x, 0, 0]),
    );
    const isBeyond = (x: number) => Math.abs(x) >= 65520;
    const expected = packing.floatsToHalfs(Float32Array.from(cases, (x) => (isBeyond(x) ? 0 : x))).halfs;
    expect([...halfs]).toEqual(
      cases.map((x, at) => (isBeyond(x) ? 65536 + 0x7c00 + (x < 0 ? 0x8000 : 0) : expected[at])),
    );
  });

  test('exponentials are those of the CPU’s definition', async () => {
    const cases = triples(() => [fround(-100 * random.nextDouble() ** 2), 0, 0]);
    for (const value of [0, 87, 90, 1e30, -87.3, beyond(fround(-87.3), 1), -3.4e38])
      cases.push([fround(value), 0, 0]);
    const got = await evaluate(`${rounding}${exponential}`, 'exponential(a)', cases);
    const expected = cases.map(([v]) => {
      if (v! < fround(-87.3)) return 0;
      const clamped = Math.min(v!, 87);
      const scaled = fround(clamped * fround(Math.LOG2E));
      let n = Math.round(scaled);
      if (Math.abs(scaled % 1) === 0.5) n = 2 * Math.round(scaled / 2);
      const r = fround(fround(clamped - n * 0.693359375) - fround(n * fround(-2.1219444e-4)));
      let sum = fround(0.0013814540579915047);
      for (const coefficient of [
        0.00836874544620514, 0.04166838899254799, 0.1666652113199234, 0.4999999403953552, 1, 1,
      ])
        sum = fround(fround(sum * r) + fround(coefficient));
      expect(Math.abs(sum * 2 ** n - Math.exp(clamped)) / Math.exp(clamped)).toBeLessThan(2.4e-7);
      return fround(sum * 2 ** n);
    });
    expect([...got]).toEqual(expected);
  });

  test('a product is added with one rounding, whether the device can or not', async () => {
    const cases = triples(() => {
      const [a, b] = [number(3), -number(3)];
      const near = fround(-a * b * (1 + (random.nextUint32() % 3) * 2 ** -(random.nextUint32() % 30)));
      return [a, b, random.nextUint32() % 3 ? near : number(6)];
    });
    const expected = Float32Array.from(cases, ([a, b, c]) => {
      // Exact product; of the float64 sum the lost part decides where it lies between two float32.
      const product = a! * b!;
      const sum = product + c!;
      const part = sum - product;
      const lost = product - (sum - part) + (c! - part);
      bits.setFloat64(0, sum);
      if (lost !== 0 && (bits.getUint32(4) & 0x1fffffff) === 0x10000000)
        bits.setBigInt64(0, bits.getBigInt64(0) + (lost > 0 === sum > 0 ? 1n : -1n));
      return bits.getFloat64(0);
    });
    const isNative = await fusesMultiply(context);
    for (const native of isNative ? [true, false] : [false])
      expect(await evaluate(`${division}${fusedMultiply(native)}`, 'fused(a, b, c)', cases)).toEqual(
        expected,
      );
  });
});
