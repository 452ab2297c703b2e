import { DBellError } from '../../contract/errors.ts';
import type { TopLogits, TopRequest } from '../../model/top-logits.ts';
import type { DeviceOptions, DeviceSession } from '../device.ts';
import { fusesMultiply } from './arithmetic-check.ts';
import { type BlockCache, blockSteps, embeddingSteps, headSteps, lossSteps } from './block-steps.ts';
import { type GpuContext, readBack, UniformPages } from './context.ts';
import { clockBytes, clockMs, KernelClock } from './kernel-clock.ts';
import { cacheWords } from './kernels/cache.ts';
import { statusWords } from './kernels/kernel.ts';
import { gpuLimits } from './limits.ts';
import { Program } from './program.ts';
import { createScratch, type Scratch } from './scratch.ts';
import { trySubgroups } from './subgroup-check.ts';
import { TopSelection } from './top-selection.ts';
import type { GpuWeights } from './weights.ts';

interface Programs {
  blocks: Program;
  head: Program;
  top: Program;
  losses: Program;
}

/** One sequence: its KV cache (float32 or float16) and the buffers of a chunk, with every dispatch bound to them. */
export class GpuSession implements DeviceSession {
  readonly #context: GpuContext;
  readonly #weights: GpuWeights;
  readonly #contextLength: number;
  readonly #options: DeviceOptions;
  readonly #scratch: Scratch;
  readonly #top: TopSelection;
  readonly #staging: GPUBuffer;
  readonly #clock: KernelClock | null;
  #kernelMs: number | null = null;
  #uniforms: UniformPages;
  #cache: BlockCache[] = [];
  #capacity = 0;
  #programs: Programs | null = null;
  #position = 0;
  #isClosed = false;

  private constructor(
    context: GpuContext,
    weights: GpuWeights,
    contextLength: number,
    options: DeviceOptions,
    tokensPerChunk: number,
  ) {
    this.#context = context;
    this.#weights = weights;
    this.#contextLength = contextLength;
    this.#options = options;
    this.#uniforms = new UniformPages(context);
    this.#scratch = createScratch(context, weights, {
      tokens: tokensPerChunk,
      integer: options.activationBits !== 16,
    });
    const { logits } = this.#scratch;
    this.#top = new TopSelection(context, logits.buffer, logits.stride);
    this.#clock = KernelClock.create(context);
    this.#staging = context.createStaging(stagingBytes(this.#scratch));
  }

  /** Throws DBellError `out-of-memory`, `device-lost`. */
  static async create(
    context: GpuContext,
    weights: GpuWeights,
    contextLength: number,
    options: DeviceOptions,
    tokensPerChunk: number,
  ): Promise<GpuSession> {
    let session: GpuSession | null = null;
    try {
      return await context.checked('a session', async () => {
        session = context.allOrNothing(
          () => new GpuSession(context, weights, contextLength, options, tokensPerChunk),
        );
        await session.#makeRoom(1);
        return session;
      });
    } catch (error) {
      // What the device found wrong shows when all is made.
      (session as GpuSession | null)?.close();
      throw error;
    }
  }

  get position(): number {
    return this.#position;
  }

  get cacheBytes(): number {
    return this.#cache.reduce((sum, { keys, values }) => sum + keys.size + values.size, 0);
  }

  get scratchBytes(): number {
    const sizes = [this.#scratch.bytes, this.#top.bytes, this.#staging.size, this.#uniforms.bytes];
    return sizes.reduce((sum, bytes) => sum + bytes, this.#clock?.bytes ?? 0);
  }

  get kernelMs(): number | null {
    return this.#kernelMs;
  }

  async feed(ids: Int32Array, logits: Float32Array | null): Promise<void> {
    await this.#run(ids, logits ? ids.length - 1 : 0, logits ? 1 : 0);
    const values = await this.#read(logits ? logits.length : 0);
    this.#position += ids.length;
    if (logits) takeFinite(values, logits);
  }

  async feedTop(ids: Int32Array, request: TopRequest): Promise<TopLogits> {
    this.#top.write(request);
    await this.#run(ids, ids.length - 1, 1, true);
    const words = await this.#read(this.#top.resultWords(request), this.#top.result);
    this.#position += ids.length;
    const found = this.#top.decode(words, request);
    const all = async () => {
      const logits = new Float32Array(this.#weights.description.vocabularySize);
      takeFinite(await this.#read(logits.length), logits);
      return logits;
    };
    if (found) return { ...found, all };
    // Names it.
    await all();
    throw new DBellError('internal', 'the device took a logit for one that is not finite');
  }

  async losses(ids: Int32Array, targets: Int32Array): Promise<Float32Array> {
    const { queue } = this.#context.device;
    queue.writeBuffer(this.#scratch.targets, 0, Uint32Array.from(targets));
    await this.#run(ids, 0, 0);
    const { logitRows } = this.#scratch;
    await this.#context.checked('the losses', () => {
      for (let first = 0; first < ids.length; first += logitRows)
        this.#submitHead(ids.length, first, Math.min(logitRows, ids.length - first), true);
    });
    const values = await this.#read(ids.length, this.#scratch.losses);
    this.#position += ids.length;
    const losses = new Float32Array(ids.length);
    if (!values.every(Number.isFinite))
      throw new DBellError('invalid-package', 'a loss is not finite; the package is damaged');
    losses.set(values);
    return losses;
  }

  async chunkLogits(chunkRows: number, firstRow: number, logits: Float32Array): Promise<void> {
    const { vocabularySize } = this.#weights.description;
    const { logitRows } = this.#scratch;
    const count = logits.length / vocabularySize;
    for (let first = 0; first < count; first += logitRows) {
      const rows = Math.min(logitRows, count - first);
      await this.#context.checked('the logits', () =>
        this.#submitHead(chunkRows, firstRow + first, rows, false),
      );
      const values = await this.#read(rows * vocabularySize);
      takeFinite(values, logits.subarray(first * vocabularySize, (first + rows) * vocabularySize));
    }
  }

  reset(): void {
    this.#position = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#giveBackCache(this.#cache);
    this.#cache = [];
    this.#programs = null;
    this.#uniforms.destroy();
    this.#scratch.destroy();
    this.#top.destroy();
    this.#context.destroyBuffer('scratch', this.#staging);
    this.#clock?.destroy();
  }

  /** Submits a chunk through the blocks, and `headRows` of its rows through the head; the first one's highest logits are found where `withTop`. */
  async #run(ids: Int32Array, headFirst: number, headRows: number, withTop = false): Promise<void> {
    await this.#context.checked('a chunk of tokens', async () => {
      await this.#makeRoom(ids.length);
      const { device } = this.#context;
      const { scratch, programs } = this.#built();
      device.queue.writeBuffer(scratch.ids, 0, Uint32Array.from(ids));
      const angles = this.#angles(ids.length);
      if (angles.length > 0) device.queue.writeBuffer(scratch.angles, 0, angles);
      this.#writeChunk(ids.length, headFirst, headRows);
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(scratch.inputs.status);
      const pass = encoder.beginComputePass(this.#clock?.passDescriptor);
      programs.blocks.encode(pass, ids.length);
      if (headRows > 0) programs.head.encode(pass, headRows);
      if (withTop) programs.top.encode(pass, 1);
      pass.end();
      this.#clock?.resolve(encoder);
      device.queue.submit([encoder.finish()]);
    });
  }

  #submitHead(tokens: number, first: number, rows: number, withLosses: boolean): void {
    const { device } = this.#context;
    const { programs } = this.#built();
    this.#writeChunk(tokens, first, rows);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    programs.head.encode(pass, rows);
    if (withLosses) programs.losses.encode(pass, rows);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  #writeChunk(tokens: number, headFirst: number, headRows: number): void {
    const state = Uint32Array.of(tokens, this.#position, headFirst, headRows);
    this.#context.device.queue.writeBuffer(this.#scratch.chunk, 0, state);
  }

  /** The first `words` float32 of a buffer, logits by default, after the status said that all inputs were finite. One readback. */
  async #read(words: number, from: GPUBuffer = this.#scratch.logits.buffer): Promise<Float32Array> {
    const { device } = this.#context;
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#scratch.inputs.status, 0, this.#staging, statusAt, 4 * statusCount);
    this.#clock?.copyTo(encoder, this.#staging, 0);
    if (words > 0) encoder.copyBufferToBuffer(from, 0, this.#staging, valuesAt, 4 * words);
    device.queue.submit([encoder.finish()]);
    const bytes = await readBack(this.#context, this.#staging, valuesAt + 4 * words);
    this.#kernelMs = this.#clock ? clockMs(bytes) : null;
    const status = new Uint32Array(bytes, statusAt, statusCount);
    // Behind such a key nothing is finite.
    if (status[statusWords.beyondHalf] !== 0)
      throw new DBellError(
        'invalid-input',
        'a key or value of the attention is larger than 65504, the most that a float16 cache holds; use a float32 cache',
      );
    if (status[statusWords.notFinite] !== 0)
      throw new DBellError(
        'invalid-package',
        'an input of a linear is not finite; the package is damaged (--device cpu names the linear)',
      );
    return new Float32Array(bytes, valuesAt, words);
  }

  #built(): { scratch: Scratch; programs: Programs } {
    if (!this.#programs) throw closedError();
    return { scratch: this.#scratch, programs: this.#programs };
  }

  /** Cosine and sine of the chunk's positions, by the host: angles are rounded to float32 first, as models are trained with, and shaders' functions are too coarse. */
  #angles(count: number): Float32Array<ArrayBuffer> {
    const frequencies = this.#weights.description.inverseFrequencies ?? new Float32Array(0);
    const angles = new Float32Array(2 * count * frequencies.length);
    for (let token = 0; token < count; token++)
      for (const [index, frequency] of frequencies.entries()) {
        const angle = Math.fround((this.#position + token) * frequency);
        const at = 2 * (token * frequencies.length + index);
        angles[at] = Math.cos(angle);
        angles[at + 1] = Math.sin(angle);
      }
    return angles;
  }

  /** Lets the cache grow, doubling, to hold `count` more positions; what it holds is copied on the device. */
  async #makeRoom(count: number): Promise<void> {
    const needed = this.#position + count;
    if (needed <= this.#capacity) return;
    const capacity = Math.min(
      this.#contextLength,
      Math.max(needed, 2 * this.#capacity, gpuLimits.firstCachePositions),
    );
    const { keyValueHeadCount, headDimension } = this.#weights.description;
    const bytesPerPosition = 4 * cacheWords(this.#options.keyValueCache, keyValueHeadCount * headDimension);
    const { device } = this.#context;
    const create = () => this.#context.createBuffer('cache', 'the cache', capacity * bytesPerPosition);
    const uniforms = new UniformPages(this.#context);
    let cache: BlockCache[] = [];
    let programs: Programs;
    try {
      programs = await this.#context.checked('the cache', () => {
        cache = this.#context.allOrNothing(() =>
          this.#weights.blocks.map(() => ({ keys: create(), values: create() })),
        );
        const encoder = device.createCommandEncoder();
        const filled = this.#position * bytesPerPosition;
        for (const [index, old] of this.#cache.entries()) {
          const grown = cache[index]!;
          if (filled === 0) continue;
          encoder.copyBufferToBuffer(old.keys, 0, grown.keys, 0, filled);
          encoder.copyBufferToBuffer(old.values, 0, grown.values, 0, filled);
        }
        device.queue.submit([encoder.finish()]);
        return this.#build(cache, uniforms);
      });
      if (this.#isClosed) throw closedError();
    } catch (error) {
      // The session goes on with what it had, as long as that has room.
      uniforms.destroy();
      this.#giveBackCache(cache);
      throw error;
    }
    this.#uniforms.destroy();
    this.#giveBackCache(this.#cache);
    this.#uniforms = uniforms;
    this.#cache = cache;
    this.#capacity = capacity;
    this.#programs = programs;
  }

  #giveBackCache(cache: readonly BlockCache[]): void {
    for (const { keys, values } of cache) {
      this.#context.destroyBuffer('cache', keys);
      this.#context.destroyBuffer('cache', values);
    }
  }

  /** Every dispatch, bound to this cache; their parameters go to `uniforms`. */
  async #build(cache: readonly BlockCache[], uniforms: UniformPages): Promise<Programs> {
    const context = this.#context;
    const weights = this.#weights;
    const scratch = this.#scratch;
    const packedDot = context.hasPackedDot;
    await trySubgroups(context);
    const fusedMultiply = await fusesMultiply(context);
    const { activationScales } = weights.description;
    const options = { ...this.#options, activationScales, packedDot, fusedMultiply };
    const build = (steps: Parameters<typeof Program.build>[3]) =>
      Program.build(context, scratch.chunk, uniforms, steps);
    return {
      blocks: await build([
        ...embeddingSteps(weights, scratch, packedDot),
        ...weights.blocks.flatMap((block, index) =>
          blockSteps(weights, block, scratch, cache[index]!, options),
        ),
      ]),
      head: await build(headSteps(weights, scratch, packedDot)),
      top: await build(this.#top.steps),
      losses: await build(lossSteps(scratch, weights.description.vocabularySize)),
    };
  }
}

/** In what is read back: the clock's times, the status, then logits or losses. */
const statusAt = clockBytes;
const statusCount = Object.keys(statusWords).length;
const valuesAt = clockBytes + 4 * statusCount;

function stagingBytes({ logits, logitRows, tokens }: Scratch): number {
  return valuesAt + 4 * Math.max(logitRows * logits.stride, tokens);
}

function closedError(): DBellError {
  return new DBellError('internal', 'the session is closed');
}

function takeFinite(values: Float32Array, target: Float32Array): void {
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new DBellError('invalid-package', `logit ${bad} is not finite; the package is damaged`);
  target.set(values);
}
