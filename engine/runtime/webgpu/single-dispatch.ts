import { type GpuContext, readBack, UniformPages, usage } from './context.ts';
import { chunkFields, type Kernel } from './kernels/kernel.ts';
import { Program } from './program.ts';

/**
 * Runs a kernel once, whose buffers are `values` and behind it an output of so many float32, and returns the output. For what is asked of a device before
 * models run on it. Throws DBellError `device-lost`, `internal`.
 */
export async function dispatchOnce(
  context: GpuContext,
  kernel: Kernel,
  parameters: Readonly<Record<string, number>>,
  values: Float32Array<ArrayBuffer>,
  outputs: number,
  workgroups = 1,
): Promise<Float32Array> {
  const uniforms = new UniformPages(context);
  const chunk = context.createBuffer('scratch', 'chunk', 4 * chunkFields.length, usage.uniform);
  const input = context.createBuffer('scratch', 'values', values.byteLength);
  const out = context.createBuffer('scratch', 'output', 4 * outputs);
  const staging = context.createStaging(4 * outputs);
  try {
    const { device } = context;
    device.queue.writeBuffer(input, 0, values);
    const program = await Program.build(context, chunk, uniforms, [
      { one: kernel, parameters, buffers: [input, out], extent: () => [workgroups, 1, 1] },
    ]);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    program.encode(pass, 1);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, staging, 0, 4 * outputs);
    device.queue.submit([encoder.finish()]);
    return new Float32Array(await readBack(context, staging, 4 * outputs));
  } finally {
    uniforms.destroy();
    for (const buffer of [chunk, input, out, staging]) context.destroyBuffer('scratch', buffer);
  }
}
