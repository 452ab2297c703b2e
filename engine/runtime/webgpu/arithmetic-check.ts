import { type GpuContext, readBack, UniformPages, usage } from './context.ts';
import { chunkFields, kernel } from './kernels/kernel.ts';
import { Program } from './program.ts';

/** (1 + 2⁻¹²)² − (1 + 2⁻¹¹) is 2⁻²⁴; with the square rounded before the subtraction it is 0. */
const factor = 1 + 2 ** -12;
const addend = -(1 + 2 ** -11);

const check = kernel({
  key: 'fused multiply',
  parameters: ['factor: f32', 'addend: f32'],
  buffers: [['out', 'write', 'f32']],
  workgroup: [1],
  body: 'out[0] = fma(p.factor, p.factor, p.addend);',
});

const answers = new WeakMap<GpuContext, Promise<boolean>>();

/** Whether the device's fma rounds once, as the CPU's does and WGSL lets it do; asked of each device once. Throws DBellError `device-lost`. */
export function fusesMultiply(context: GpuContext): Promise<boolean> {
  let answer = answers.get(context);
  if (!answer) {
    answer = ask(context);
    answers.set(context, answer);
  }
  return answer;
}

async function ask(context: GpuContext): Promise<boolean> {
  const uniforms = new UniformPages(context);
  const chunk = context.createBuffer('scratch', 'chunk', 4 * chunkFields.length, usage.uniform);
  const out = context.createBuffer('scratch', 'check', 4);
  const staging = context.createStaging(4);
  try {
    const step = {
      one: check,
      parameters: { factor, addend },
      buffers: [out],
      extent: (): [number, number, number] => [1, 1, 1],
    };
    const program = await Program.build(context, chunk, uniforms, [step]);
    const encoder = context.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    program.encode(pass, 1);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, staging, 0, 4);
    context.device.queue.submit([encoder.finish()]);
    return new Float32Array(await readBack(context, staging, 4))[0] === 2 ** -24;
  } finally {
    uniforms.destroy();
    for (const buffer of [chunk, out, staging]) context.destroyBuffer('scratch', buffer);
  }
}
