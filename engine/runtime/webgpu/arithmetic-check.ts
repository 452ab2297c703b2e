import { askOnce } from './ask-once.ts';
import type { GpuContext } from './context.ts';
import { kernel } from './kernels/kernel.ts';
import { dispatchOnce } from './single-dispatch.ts';

/** (1 + 2⁻¹²)² − (1 + 2⁻¹¹) is 2⁻²⁴; with the square rounded before the subtraction it is 0. */
const factor = 1 + 2 ** -12;
const addend = -(1 + 2 ** -11);

const check = kernel({
  key: 'fused multiply',
  parameters: ['factor_at: u32', 'addend_at: u32'],
  buffers: [
    ['values', 'read', 'f32'],
    ['out', 'write', 'f32'],
  ],
  workgroup: [1],
  body: 'out[0] = fma(values[p.factor_at], values[p.factor_at], values[p.addend_at]);',
});

/** Whether the device's fma rounds once, as the CPU's does and WGSL lets it do; asked of each device once. Throws DBellError `device-lost`. */
export const fusesMultiply = askOnce(async (context: GpuContext): Promise<boolean> => {
  const values = Float32Array.of(factor, addend);
  return (await dispatchOnce(context, check, { factor_at: 0, addend_at: 1 }, values, 1))[0] === 2 ** -24;
});
