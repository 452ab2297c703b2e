import { DBellError } from '../../contract/errors.ts';
import { adapterLabel, type OpenedAdapter } from './adapters.ts';
import { chunkFields, type Kernel } from './kernels/kernel.ts';
import { gpuLimits, neededLimits } from './limits.ts';

/** Bits of GPUBufferUsage and GPUMapMode (WebGPU, sections 5.1 and 5.2): Dawn's Node package has them in no global. */
export const usage = {
  mapRead: 1,
  copySource: 4,
  copyTarget: 8,
  uniform: 64,
  storage: 128,
  queryResolve: 512,
} as const;
const mapRead = 1;

/** What device memory is taken for. */
export type MemoryKind = 'weights' | 'cache' | 'scratch';

interface Pipeline {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

/**
 * A GPUDevice with what the runtime needs around it: buffers that are counted, pipelines by kernel, errors that become DBellErrors. Every wait ends when the device is lost.
 */
export class GpuContext {
  readonly device: GPUDevice;
  readonly label: string;
  /** Computes on the processor. */
  readonly isSoftware: boolean;
  readonly hasPackedDot: boolean;
  /** Threads that may reduce together by subgroup operations, in every subgroup of the adapter; 0 where there are none, or too few to gain anything. */
  readonly offeredSubgroupWidth: number;
  /** What kernels are compiled for: 0, or what is offered once it has been tried (subgroup-check.ts). */
  subgroupWidth = 0;
  /** What chunks are held to besides what suits the model. */
  readonly mostTokensPerChunk: number;
  /** The adapter tells when kernels began and ended. */
  readonly hasTimestamps: boolean;
  /** Largest buffer that can be bound whole. */
  readonly maximumBindingBytes: number;
  /** Weights that are larger are cut by rows. */
  readonly maximumWeightBytes: number;
  readonly memoryBytes: Record<MemoryKind, number> = { weights: 0, cache: 0, scratch: 0 };
  readonly #adapter: OpenedAdapter;
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  readonly #ready = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #lost: Promise<never>;
  #lostError: DBellError | null = null;
  /** Buffers of the `allOrNothing` that runs. */
  #made: { kind: MemoryKind; buffer: GPUBuffer }[] | null = null;
  #isClosed = false;

  private constructor(adapter: OpenedAdapter, device: GPUDevice, options: ContextOptions) {
    this.#adapter = adapter;
    this.device = device;
    this.label = adapterLabel(adapter.description);
    this.isSoftware = adapter.description.isSoftware;
    this.hasTimestamps = device.features.has('timestamp-query');
    this.hasPackedDot = adapter.hasPackedDot && options.packedDot !== false;
    this.offeredSubgroupWidth = subgroupWidth(adapter.adapter.info, device, options.smallestSubgroup);
    this.mostTokensPerChunk = options.mostTokensPerChunk ?? Number.POSITIVE_INFINITY;
    this.maximumBindingBytes = Math.min(
      device.limits.maxStorageBufferBindingSize,
      device.limits.maxBufferSize,
    );
    this.maximumWeightBytes = Math.min(
      this.maximumBindingBytes,
      options.maximumWeightBytes ?? Number.POSITIVE_INFINITY,
    );
    this.#lost = device.lost.then((info) => {
      this.#lostError = new DBellError(
        'device-lost',
        `${this.label} was lost (${info.reason || 'no reason given'}${info.message ? `: ${info.message}` : ''}); what was generated so far stands, start again to go on`,
      );
      throw this.#lostError;
    });
    this.#lost.catch(() => {});
  }

  /** Throws DBellError `gpu-unavailable` where the adapter misses a limit or gives no device. */
  static async open(adapter: OpenedAdapter, options: ContextOptions = {}): Promise<GpuContext> {
    const label = adapterLabel(adapter.description);
    const problem = missingLimit(adapter, options.limits);
    if (problem !== null)
      throw new DBellError(
        'gpu-unavailable',
        `${label} cannot run packed models: ${problem}; use --device cpu`,
      );
    const requiredLimits: Record<string, number> = {};
    for (const name of ['maxStorageBufferBindingSize', 'maxBufferSize'] as const)
      requiredLimits[name] = adapter.adapter.limits[name];
    const requiredFeatures = (['timestamp-query', 'subgroups'] as const).filter((name) =>
      adapter.adapter.features.has(name),
    );
    let device: GPUDevice;
    try {
      device = await adapter.adapter.requestDevice({ requiredLimits, requiredFeatures });
    } catch (cause) {
      throw new DBellError('gpu-unavailable', `${label} gives no device: ${(cause as Error).message}`, {
        cause,
      });
    }
    return new GpuContext(adapter, device, options);
  }

  /** A buffer of zeros. Throws DBellError `out-of-memory` where no buffer may be so large; other failures show at `checked`. */
  createBuffer(kind: MemoryKind, label: string, bytes: number, extraUsage = 0): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    if (size > this.maximumBindingBytes)
      throw new DBellError(
        'out-of-memory',
        `${this.label}: ${label} would take ${size} bytes in one buffer, ${this.maximumBindingBytes} are possible; use a shorter context or --device cpu`,
      );
    const buffer = this.device.createBuffer({
      label,
      size,
      usage: usage.storage | usage.copyTarget | usage.copySource | extraUsage,
    });
    this.memoryBytes[kind] += size;
    this.#made?.push({ kind, buffer });
    return buffer;
  }

  /** A buffer that the host reads from, counted as scratch. */
  createStaging(bytes: number): GPUBuffer {
    const buffer = this.device.createBuffer({
      label: 'read back',
      size: bytes,
      usage: usage.mapRead | usage.copyTarget,
    });
    this.memoryBytes.scratch += buffer.size;
    this.#made?.push({ kind: 'scratch', buffer });
    return buffer;
  }

  /** What makes several buffers, without waiting in between: where it throws, those that it had made are given back. */
  allOrNothing<T>(action: () => T): T {
    const made: { kind: MemoryKind; buffer: GPUBuffer }[] = [];
    this.#made = made;
    try {
      return action();
    } catch (error) {
      for (const { kind, buffer } of made) this.destroyBuffer(kind, buffer);
      throw error;
    } finally {
      this.#made = null;
    }
  }

  destroyBuffer(kind: MemoryKind, buffer: GPUBuffer): void {
    this.memoryBytes[kind] -= buffer.size;
    buffer.destroy();
  }

  /** Runs what makes buffers, pipelines or commands; what the device finds wrong with them becomes a DBellError. */
  async checked<T>(what: string, action: () => T | Promise<T>): Promise<T> {
    this.throwIfLost();
    this.device.pushErrorScope('internal');
    this.device.pushErrorScope('validation');
    this.device.pushErrorScope('out-of-memory');
    let result: T | undefined;
    let thrown: unknown = null;
    try {
      result = await this.orLost(Promise.resolve().then(action));
    } catch (error) {
      thrown = error;
    }
    const scopes = [this.device.popErrorScope(), this.device.popErrorScope(), this.device.popErrorScope()];
    const [memory, validation, internal] = await this.orLost(Promise.all(scopes));
    if (thrown !== null) throw thrown;
    if (memory)
      throw new DBellError(
        'out-of-memory',
        `${this.label} has no memory for ${what}: ${firstLine(memory)}; use a shorter context or --device cpu`,
      );
    const error = validation ?? internal;
    if (error) throw new DBellError('internal', `${this.label}, ${what}: ${firstLine(error)}`);
    return result as T;
  }

  get isLost(): boolean {
    return this.#lostError !== null;
  }

  throwIfLost(): void {
    if (this.#isClosed) throw new DBellError('invalid-input', 'the device is closed');
    if (this.#lostError) throw this.#lostError;
  }

  /** The promise, or the error of a lost device, whichever comes first. */
  async orLost<T>(promise: Promise<T>): Promise<T> {
    let value: T | undefined;
    // The value goes past the race: `#lost` lives as long as the device and would keep every value that came first.
    const arrived = promise.then((result) => {
      value = result;
    });
    await Promise.race([arrived, this.#lost]);
    return value as T;
  }

  /** Compiles kernels; each is compiled once. */
  async prepare(kernels: Iterable<Kernel>): Promise<void> {
    await Promise.all([...kernels].map((kernel) => this.#compile(kernel)));
  }

  /** A kernel that was prepared. */
  pipeline(kernel: Kernel): Pipeline {
    const ready = this.#ready.get(kernel.key);
    if (!ready) throw new DBellError('internal', `the kernel ${kernel.key} was not prepared`);
    return ready;
  }

  #compile(kernel: Kernel): Promise<Pipeline> {
    let made = this.#pipelines.get(kernel.key);
    if (!made) {
      made = this.#create(kernel);
      this.#pipelines.set(kernel.key, made);
    }
    return made;
  }

  async #create(kernel: Kernel): Promise<Pipeline> {
    const layout = this.#layoutOf(kernel);
    const module = this.device.createShaderModule({
      label: kernel.key,
      code: kernel.wgsl(this.subgroupWidth),
    });
    try {
      const pipeline = await this.orLost(
        this.device.createComputePipelineAsync({
          label: kernel.key,
          layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: 'main' },
        }),
      );
      this.#ready.set(kernel.key, { pipeline, layout });
      return { pipeline, layout };
    } catch (cause) {
      if (cause instanceof DBellError) throw cause;
      throw new DBellError(
        'internal',
        `${this.label}: the kernel ${kernel.key} does not compile: ${await compilerMessage(module, cause as Error)}`,
        { cause },
      );
    }
  }

  #layoutOf({ buffers }: Kernel): GPUBindGroupLayout {
    const key = buffers.join(' ');
    let layout = this.#layouts.get(key);
    if (!layout) {
      const types: GPUBufferBindingType[] = [
        'uniform',
        'uniform',
        ...buffers.map(
          (access) => (access === 'read' ? 'read-only-storage' : 'storage') as GPUBufferBindingType,
        ),
      ];
      layout = this.device.createBindGroupLayout({
        entries: types.map((type, binding) => ({ binding, visibility: 4, buffer: { type } })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.device.destroy();
    this.#adapter.release();
  }
}

/** Threads of the adapter's smallest subgroup, where there are as many as it takes. */
function subgroupWidth(
  { subgroupMinSize = 0 }: GPUAdapterInfo,
  device: GPUDevice,
  smallest: number = gpuLimits.smallestSubgroup,
): number {
  const isUsable =
    device.features.has('subgroups') &&
    subgroupMinSize >= smallest &&
    Number.isInteger(Math.log2(subgroupMinSize));
  return isUsable ? subgroupMinSize : 0;
}

/** Dawn's messages go on with what it was doing, and where in its source. */
function firstLine({ message }: { message: string }): string {
  return message.split('\n', 1)[0] ?? message;
}

/** The compiler's own first complaint, which the error of a pipeline does not have. */
async function compilerMessage(module: GPUShaderModule, error: Error): Promise<string> {
  const { messages } = await module.getCompilationInfo();
  const first = messages.find(({ type }) => type === 'error');
  return first ? `line ${first.lineNum}: ${first.message}` : firstLine(error);
}

/** Which limit is below what the kernels need, in words; null where none is. */
export function missingLimit(
  { adapter }: OpenedAdapter,
  overrides: Record<string, number> = {},
): string | null {
  const limits = adapter.limits as unknown as Record<string, number>;
  for (const [name, needed] of Object.entries(neededLimits)) {
    const has = overrides[name] ?? limits[name] ?? 0;
    if (has < needed) return `its ${name} is ${has}, ${needed} is needed`;
  }
  return null;
}

export interface ContextOptions {
  /** For tests: smaller than the adapter's, so that small weights are cut into parts. */
  maximumWeightBytes?: number;
  /** For tests: false takes the plain path where the adapter has the packed dot product. */
  packedDot?: boolean;
  /** For tests: subgroups from so many threads on are taken; Infinity takes none. */
  smallestSubgroup?: number;
  /** For tests: shorter chunks, so that short texts have several. */
  mostTokensPerChunk?: number;
  /** For tests: limits that the adapter is to be thought to have. */
  limits?: Record<string, number>;
}

/** Uniform parameters of many dispatches in few buffers. */
export class UniformPages {
  readonly #context: GpuContext;
  readonly #pages: { buffer: GPUBuffer; used: number }[] = [];

  constructor(context: GpuContext) {
    this.#context = context;
  }

  /** Numbers in the kernel's order of parameters. */
  add(kernel: Kernel, values: Readonly<Record<string, number>>): GPUBufferBinding {
    const bytes = new DataView(new ArrayBuffer(4 * kernel.parameters.length));
    for (const [index, name] of kernel.parameters.entries()) {
      const value = values[name];
      if (value === undefined) throw new DBellError('internal', `${kernel.key}: no value for ${name}`);
      if (kernel.floatParameters.includes(name)) bytes.setFloat32(4 * index, value, true);
      else bytes.setUint32(4 * index, value, true);
    }
    let page = this.#pages.at(-1);
    if (!page || page.used === gpuLimits.uniformPageBytes) {
      page = { buffer: this.#createPage(), used: 0 };
      this.#pages.push(page);
    }
    const { buffer, used: offset } = page;
    this.#context.device.queue.writeBuffer(buffer, offset, bytes.buffer);
    page.used += gpuLimits.uniformAlignment;
    return { buffer, offset, size: bytes.byteLength };
  }

  get bytes(): number {
    return this.#pages.reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  destroy(): void {
    for (const { buffer } of this.#pages) this.#context.destroyBuffer('scratch', buffer);
    this.#pages.length = 0;
  }

  #createPage(): GPUBuffer {
    return this.#context.createBuffer('scratch', 'parameters', gpuLimits.uniformPageBytes, usage.uniform);
  }
}

/** Bytes of the chunk's state. */
export const chunkBytes = 4 * chunkFields.length;

/** Copies `bytes` of a buffer to the host. */
export async function readBack(context: GpuContext, staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
  await context.orLost(staging.mapAsync(mapRead, 0, bytes));
  const copy = staging.getMappedRange(0, bytes).slice(0);
  staging.unmap();
  return copy;
}
