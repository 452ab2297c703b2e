import type { DeviceBandwidth } from '../device.ts';
import type { GpuContext } from './context.ts';

/** Larger than every GPU's cache; an adapter that computes on the processor gets less, since its time tells nothing of a GPU anyway. */
const bufferBytes = { gpu: 256 * 2 ** 20, software: 32 * 2 ** 20 } as const;
/** Copies of one submission, so that waiting for it does not count; the shortest of so many. */
const copies = 8;
const passes = 6;

/**
 * How fast the device moves its memory: a buffer copied to another, bytes read and bytes written together. By wall time. Throws DBellError `out-of-memory`.
 */
export async function measureCopyBandwidth(context: GpuContext): Promise<DeviceBandwidth> {
  const { device } = context;
  const wanted = context.isSoftware ? bufferBytes.software : bufferBytes.gpu;
  const size = Math.min(wanted, context.maximumBindingBytes);
  const [from, to] = await context.checked('measuring the memory', () => [
    context.createBuffer('scratch', 'copied from', size),
    context.createBuffer('scratch', 'copied to', size),
  ]);
  try {
    let shortestMs = Number.POSITIVE_INFINITY;
    // The first touches the memory.
    for (let pass = 0; pass <= passes; pass++) {
      const encoder = device.createCommandEncoder();
      for (let copy = 0; copy < copies; copy++) encoder.copyBufferToBuffer(from!, 0, to!, 0, size);
      const commands = encoder.finish();
      const startedAt = performance.now();
      device.queue.submit([commands]);
      await context.orLost(device.queue.onSubmittedWorkDone());
      if (pass > 0) shortestMs = Math.min(shortestMs, performance.now() - startedAt);
    }
    return { bytesPerSecond: (2 * size * copies * 1000) / shortestMs, bufferBytes: size, passes };
  } finally {
    context.destroyBuffer('scratch', from!);
    context.destroyBuffer('scratch', to!);
  }
}
