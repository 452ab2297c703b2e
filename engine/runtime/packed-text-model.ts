import type { KeyValueCache } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import type { LayerPath } from '../contract/measurement.ts';
import type { TextModel, TextSession } from '../model/text-model.ts';
import type { TopLogits, TopRequest } from '../model/top-logits.ts';
import { threads } from '../native/index.ts';
import { openPackage } from '../package/open.ts';
import type { PackageSource } from '../package/types.ts';
import { packedBytesReadPerToken } from './bytes-per-token.ts';
import { cpuDevice } from './cpu-device.ts';
import type { ActivationBits, Device, DeviceModel, DeviceSession } from './device.ts';
import { layerPaths } from './layer-paths.ts';

export interface PackedTextModelOptions {
  /** Threads of the native loops; 0 = all cores. The number is one for the whole process. */
  threads: number;
  /** Bits of the activations that enter quantized linears; what the package was made for by default. */
  activationBits?: ActivationBits;
  /** What keys and values are kept as, one of the device's `keyValueCaches`: float32 by default. */
  keyValueCache?: KeyValueCache;
  /** What runs it; the CPU by default. */
  device?: Device;
  /** Checked between chunks of long prompts: aborting makes the call in progress throw DBellError `stopped`. */
  signal?: AbortSignal;
}

const activationWidths: readonly number[] = [16, 8, 6, 4];

/**
 * A packed model that runs. A package given by path is opened (structure and headers checked) and closed again once it is mapped; an opened one stays the
 * caller's to close. Throws DBellError `invalid-package`, `invalid-input`, `not-found`, `disk-error`.
 */
export async function createPackedTextModel(
  packageOrPath: string | PackageSource,
  options: PackedTextModelOptions,
): Promise<TextModel> {
  if (!Number.isInteger(options.threads) || options.threads < 0)
    throw new DBellError(
      'invalid-input',
      `threads is ${options.threads}; it must be a whole number, 0 for all cores`,
    );
  if (options.activationBits !== undefined && !activationWidths.includes(options.activationBits))
    throw new DBellError(
      'invalid-input',
      `activation bits are ${options.activationBits}; ${activationWidths.join(', ')} are possible`,
    );
  threads.setThreadCount(options.threads);
  const isOwned = typeof packageOrPath === 'string';
  const source = isOwned ? await openPackage(packageOrPath, { checkValues: 'codes' }) : packageOrPath;
  try {
    const activationBits = options.activationBits ?? source.activationBits;
    const device = options.device ?? cpuDevice;
    const keyValueCache = options.keyValueCache ?? 'f32';
    const model = await device.load(source, { activationBits, keyValueCache });
    const { vocabularySize, contextLength } = source.architecture;
    return new PackedTextModel(model, device.name, packedBytesReadPerToken(source, keyValueCache), {
      activationBits,
      activationScales: activationBits < 16 ? source.activationScales : undefined,
      keyValueCache: keyValueCache === 'f32' ? undefined : keyValueCache,
      vocabularySize,
      contextLength,
      signal: options.signal ?? null,
      layerPaths: layerPaths(source, model.kernelPath),
    });
  } finally {
    if (isOwned) source.close();
  }
}

interface PackedProperties {
  activationBits: ActivationBits;
  activationScales: TextModel['activationScales'];
  keyValueCache: TextModel['keyValueCache'];
  vocabularySize: number;
  contextLength: number;
  signal: AbortSignal | null;
  layerPaths: readonly LayerPath[];
}

class PackedTextModel implements TextModel {
  readonly kind = 'packed';
  readonly device: string;
  readonly kernelPath: string;
  readonly uploadMs?: number;
  readonly measureBandwidth?: TextModel['measureBandwidth'];
  readonly activationBits: ActivationBits;
  readonly activationScales?: TextModel['activationScales'];
  readonly keyValueCache?: TextModel['keyValueCache'];
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly layerPaths: readonly LayerPath[];
  readonly bytesReadPerToken: TextModel['bytesReadPerToken'];
  readonly #model: DeviceModel;
  readonly #properties: PackedProperties;
  readonly #sessions = new Set<PackedTextSession>();
  #isClosed = false;

  constructor(
    model: DeviceModel,
    device: string,
    bytesReadPerToken: TextModel['bytesReadPerToken'],
    properties: PackedProperties,
  ) {
    this.#model = model;
    this.bytesReadPerToken = bytesReadPerToken;
    this.#properties = properties;
    this.device = device;
    this.kernelPath = model.kernelPath;
    this.layerPaths = properties.layerPaths;
    this.uploadMs = model.uploadMs;
    if (model.measureBandwidth) this.measureBandwidth = () => model.measureBandwidth!();
    this.activationBits = properties.activationBits;
    this.activationScales = properties.activationScales;
    this.keyValueCache = properties.keyValueCache;
    this.vocabularySize = properties.vocabularySize;
    this.contextLength = properties.contextLength;
  }

  get memoryBytes(): Readonly<Record<string, number>> {
    let cache = 0;
    let scratch = 0;
    for (const session of this.#sessions) {
      cache += session.cacheBytes;
      scratch += session.scratchBytes;
    }
    return { ...this.#model.memoryBytes, cache, scratch };
  }

  async createSession(options?: { contextLength?: number }): Promise<TextSession> {
    if (this.#isClosed) throw new DBellError('invalid-input', 'the packed model is closed');
    const contextLength = options?.contextLength ?? this.contextLength;
    if (!Number.isInteger(contextLength) || contextLength < 1 || contextLength > this.contextLength)
      throw new DBellError(
        'invalid-input',
        `context length is ${contextLength}; the model allows 1 to ${this.contextLength}`,
      );
    const session = new PackedTextSession(
      await this.#model.createSession(contextLength),
      contextLength,
      this.#model.tokensPerChunk,
      this.#properties,
      () => this.#sessions.delete(session),
    );
    this.#sessions.add(session);
    return session;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const session of [...this.#sessions]) session.close();
    this.#model.close();
  }
}

class PackedTextSession implements TextSession {
  readonly contextLength: number;
  readonly #session: DeviceSession;
  readonly #tokensPerChunk: number;
  readonly #properties: PackedProperties;
  readonly #onClose: () => void;
  readonly #logits: Float32Array;
  readonly feedTop?: TextSession['feedTop'];
  #kernelMs: number | null = null;
  #isClosed = false;

  constructor(
    session: DeviceSession,
    contextLength: number,
    tokensPerChunk: number,
    properties: PackedProperties,
    onClose: () => void,
  ) {
    this.#session = session;
    this.contextLength = contextLength;
    this.#tokensPerChunk = tokensPerChunk;
    this.#properties = properties;
    this.#onClose = onClose;
    this.#logits = new Float32Array(properties.vocabularySize);
    if (session.feedTop)
      this.feedTop = (ids: Int32Array, request: TopRequest): Promise<TopLogits> =>
        this.#feedChunks(ids, (last) => session.feedTop!(last, request));
  }

  get position(): number {
    return this.#session.position;
  }

  get kernelMs(): number | null {
    return this.#kernelMs;
  }

  get cacheBytes(): number {
    return this.#session.cacheBytes;
  }

  get scratchBytes(): number {
    return this.#session.scratchBytes;
  }

  async feed(ids: Int32Array): Promise<Float32Array> {
    await this.#feedChunks(ids, (last) => this.#session.feed(last, this.#logits));
    return this.#logits;
  }

  /** Appends ids in chunks; `feedLast` appends the last one and gives what follows from it. */
  async #feedChunks<T>(ids: Int32Array, feedLast: (chunk: Int32Array) => Promise<T>): Promise<T> {
    if (ids.length === 0)
      throw new DBellError('invalid-input', 'at least one token is needed to predict the next one');
    this.#checkIds(ids);
    this.#checkRoom(ids.length);
    let kernelMs: number | null = 0;
    const addKernelMs = () => {
      const chunkMs = this.#session.kernelMs ?? null;
      kernelMs = kernelMs === null || chunkMs === null ? null : kernelMs + chunkMs;
    };
    let begin = 0;
    for (; begin + this.#tokensPerChunk < ids.length; begin += this.#tokensPerChunk) {
      await this.#session.feed(ids.subarray(begin, begin + this.#tokensPerChunk), null);
      addKernelMs();
      await this.#pause();
    }
    const result = await feedLast(ids.subarray(begin));
    addKernelMs();
    this.#kernelMs = kernelMs;
    return result;
  }

  async tokenLosses(ids: Int32Array): Promise<Float32Array> {
    this.#checkIds(ids);
    this.reset();
    const count = Math.max(0, ids.length - 1);
    this.#checkRoom(count);
    const losses = new Float32Array(count);
    for (let begin = 0; begin < count; begin += this.#tokensPerChunk) {
      if (begin > 0) await this.#pause();
      const end = Math.min(begin + this.#tokensPerChunk, count);
      const chunk = await this.#session.losses(ids.subarray(begin, end), ids.subarray(begin + 1, end + 1));
      losses.set(chunk, begin);
    }
    this.reset();
    return losses;
  }

  async *windowLogits(ids: Int32Array, rowsPerPiece: number): AsyncGenerator<Float32Array> {
    this.#checkIds(ids);
    this.reset();
    this.#checkRoom(ids.length);
    const { vocabularySize } = this.#properties;
    const piece = new Float32Array(Math.min(rowsPerPiece, ids.length) * vocabularySize);
    let filled = 0;
    for (let begin = 0; begin < ids.length; begin += this.#tokensPerChunk) {
      if (begin > 0) await this.#pause();
      const chunkRows = Math.min(this.#tokensPerChunk, ids.length - begin);
      await this.#session.feed(ids.subarray(begin, begin + chunkRows), null);
      for (let row = 0; row < chunkRows; ) {
        const count = Math.min(rowsPerPiece - filled, chunkRows - row);
        const target = piece.subarray(filled * vocabularySize, (filled + count) * vocabularySize);
        await this.#session.chunkLogits(chunkRows, row, target);
        row += count;
        filled += count;
        if (filled < rowsPerPiece && begin + row < ids.length) continue;
        yield piece.subarray(0, filled * vocabularySize);
        filled = 0;
      }
    }
    this.reset();
  }

  reset(): void {
    this.#session.reset();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#session.close();
    this.#onClose();
  }

  /** Lets the process hear of a stop between two chunks. */
  async #pause(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#properties.signal?.aborted) throw new DBellError('stopped', 'stopped between two chunks');
  }

  #checkRoom(count: number): void {
    const { position } = this;
    if (position + count > this.contextLength)
      throw new DBellError(
        'invalid-input',
        `${count} tokens after ${position} do not fit the context of ${this.contextLength}; use fewer tokens or a longer context`,
      );
  }

  #checkIds(ids: Int32Array): void {
    const { vocabularySize } = this.#properties;
    const bad = ids.find((id) => id < 0 || id >= vocabularySize);
    if (bad !== undefined)
      throw new DBellError(
        'invalid-input',
        `token id ${bad} is outside the vocabulary of ${vocabularySize} tokens`,
      );
  }
}
