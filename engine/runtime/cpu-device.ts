import { keyValueCacheSchema } from '../contract/common.ts';
import { native, type PackedModelHandle, type PackedSessionHandle, runtime } from '../native/runtime.ts';
import type { PackageSource } from '../package/types.ts';
import type { Device, DeviceModel, DeviceOptions, DeviceSession } from './device.ts';
import { describeForNative } from './model-description.ts';

/** The native addon's kernels on the CPU; the package is mapped, never copied. */
export const cpuDevice: Device = {
  name: 'cpu',
  keyValueCaches: keyValueCacheSchema.options,
  async load(source, options) {
    return new CpuModel(source, options);
  },
};

/**
 * What to tell of a packed model on the CPU whose kernels are plain C++, `generic` or `float-generic`: this processor has none of the instruction sets that
 * the fast ones are written for, or DBELL_FORCE_ISA asks for it. Null for every other kernel path.
 */
export function slowPathWarning(kernelPath: string): string | null {
  if (kernelPath !== 'generic' && kernelPath !== 'float-generic') return null;
  const reason =
    process.env.DBELL_FORCE_ISA === 'generic'
      ? 'DBELL_FORCE_ISA is generic'
      : 'this processor has none of the instruction sets that the fast kernels are written for (SSE4.1, AVX2, AVX-VNNI, AVX-512; NEON)';
  return `slow path: ${reason}; packed models run in plain C++, with the same results and many times slower`;
}

class CpuModel implements DeviceModel {
  readonly kernelPath: string;
  readonly tokensPerChunk: number;
  readonly memoryBytes: Readonly<Record<string, number>>;
  readonly #handle: PackedModelHandle;
  readonly #options: DeviceOptions;

  constructor(source: PackageSource, options: DeviceOptions) {
    const opened = native(() => runtime.packedOpen(describeForNative(source)));
    this.#handle = opened.handle;
    this.#options = options;
    this.kernelPath = options.activationBits === 16 ? `float-${opened.kernels}` : opened.kernels;
    this.tokensPerChunk = opened.tokensPerChunk;
    this.memoryBytes = { weights: opened.mappedBytes, copied: opened.copiedBytes };
  }

  async createSession(contextLength: number): Promise<DeviceSession> {
    const { activationBits, keyValueCache } = this.#options;
    return new CpuSession(
      native(() => runtime.packedCreateSession(this.#handle, contextLength, activationBits, keyValueCache)),
    );
  }

  close(): void {
    native(() => runtime.packedClose(this.#handle));
  }
}

class CpuSession implements DeviceSession {
  readonly #handle: PackedSessionHandle;

  constructor(handle: PackedSessionHandle) {
    this.#handle = handle;
  }

  get position(): number {
    return native(() => runtime.packedSessionState(this.#handle)).position;
  }

  get cacheBytes(): number {
    return native(() => runtime.packedSessionState(this.#handle)).cacheBytes;
  }

  get scratchBytes(): number {
    return native(() => runtime.packedSessionState(this.#handle)).scratchBytes;
  }

  async feed(ids: Int32Array, logits: Float32Array | null): Promise<void> {
    native(() => runtime.packedFeed(this.#handle, ids, logits));
  }

  async losses(ids: Int32Array, targets: Int32Array): Promise<Float32Array> {
    return native(() => runtime.packedLosses(this.#handle, ids, targets));
  }

  async chunkLogits(chunkRows: number, firstRow: number, logits: Float32Array): Promise<void> {
    native(() => runtime.packedChunkLogits(this.#handle, chunkRows, firstRow, logits));
  }

  reset(): void {
    native(() => runtime.packedResetSession(this.#handle));
  }

  close(): void {
    native(() => runtime.packedCloseSession(this.#handle));
  }
}
