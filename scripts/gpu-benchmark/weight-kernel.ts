import { type GpuContext, UniformPages, usage } from '../../engine/runtime/webgpu/context.ts';
import { chunkFields } from '../../engine/runtime/webgpu/kernels/kernel.ts';
import { Program } from '../../engine/runtime/webgpu/program.ts';
import { createInputs, paddedWidth } from '../../engine/runtime/webgpu/scratch.ts';
import { linearSteps } from '../../engine/runtime/webgpu/steps.ts';
import { WeightUploader } from '../../engine/runtime/webgpu/weights.ts';
import { randomBytes, randomLinear } from './random-package.ts';

/** Weights of all copies of the matrix together: more than any cache holds. */
const weightBytes = { gpu: 256 * 2 ** 20, software: 2 * 2 ** 20 } as const;
const passes = 5;

/** Bytes of weights that the decoding kernel reads a second from a matrix `[rows, columns]`, one token at 8 activation bits; the shortest of the passes over all copies, by wall time. */
export async function measureWeightKernel(
  context: GpuContext,
  rows: number,
  columns: number,
  planes: number,
): Promise<{ bytesPerSecond: number; copies: number }> {
  const { device } = context;
  const description = randomLinear('matrix', rows, columns, planes);
  const bytes = description.codes.valueBytes + description.scales!.valueBytes;
  const copies = Math.ceil((context.isSoftware ? weightBytes.software : weightBytes.gpu) / bytes);
  const uploader = new WeightUploader(context, { read: randomBytes });
  const uniforms = new UniformPages(context);
  const buffers: GPUBuffer[] = [];
  const create = (label: string, words: number, extra = 0) => {
    buffers.push(context.createBuffer('scratch', label, 4 * words, extra));
    return buffers.at(-1)!;
  };
  try {
    return await context.checked('a kernel by itself', async () => {
      const chunk = create('chunk', chunkFields.length, usage.uniform);
      const inputs = createInputs(create, 1, { columns, gathered: 0, integer: true });
      const stride = paddedWidth(rows);
      const y = { buffer: create('y', stride), stride };
      const steps = [];
      for (let copy = 0; copy < copies; copy++)
        steps.push(
          ...linearSteps(await uploader.linear(description), inputs, y, {
            activationBits: 8,
            activationScales: 'block',
            packedDot: context.hasPackedDot,
            fusedMultiply: false,
          }),
        );
      const program = await Program.build(context, chunk, uniforms, steps);
      device.queue.writeBuffer(chunk, 0, Uint32Array.of(1, 0, 0, 0));
      let shortestMs = Number.POSITIVE_INFINITY;
      for (let pass = 0; pass <= passes; pass++) {
        const encoder = device.createCommandEncoder();
        const compute = encoder.beginComputePass();
        program.encode(compute, 1);
        compute.end();
        const commands = encoder.finish();
        const startedAt = performance.now();
        device.queue.submit([commands]);
        await context.orLost(device.queue.onSubmittedWorkDone());
        if (pass > 0) shortestMs = Math.min(shortestMs, performance.now() - startedAt);
      }
      return { bytesPerSecond: (copies * bytes * 1000) / shortestMs, copies };
    });
  } finally {
    uploader.destroy();
    uniforms.destroy();
    for (const buffer of buffers) context.destroyBuffer('scratch', buffer);
  }
}
