import { type GpuContext, usage } from './context.ts';

/** Bytes of the two times of a pass, in nanoseconds (WebGPU section 20.4). */
export const clockBytes = 16;

/** Takes the time of a compute pass by the device's own clock, where the adapter tells it. */
export class KernelClock {
  readonly #context: GpuContext;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;

  private constructor(context: GpuContext) {
    this.#context = context;
    this.#queries = context.device.createQuerySet({ type: 'timestamp', count: 2 });
    this.#resolved = context.createBuffer('scratch', 'times', clockBytes, usage.queryResolve);
  }

  static create(context: GpuContext): KernelClock | null {
    return context.hasTimestamps ? new KernelClock(context) : null;
  }

  get bytes(): number {
    return this.#resolved.size;
  }

  get passDescriptor(): GPUComputePassDescriptor {
    return {
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: 0,
        endOfPassWriteIndex: 1,
      },
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
  }

  copyTo(encoder: GPUCommandEncoder, target: GPUBuffer, at: number): void {
    encoder.copyBufferToBuffer(this.#resolved, 0, target, at, clockBytes);
  }

  destroy(): void {
    this.#queries.destroy();
    this.#context.destroyBuffer('scratch', this.#resolved);
  }
}

/** Milliseconds between the two times; null where the device's clock ran backwards, which the standard allows. */
export function clockMs(bytes: ArrayBuffer): number | null {
  const [begin, end] = new BigUint64Array(bytes, 0, 2) as unknown as [bigint, bigint];
  return end >= begin ? Number(end - begin) / 1e6 : null;
}
