import { DBellError } from '../../contract/errors.ts';
import type { Activation } from '../../model/architecture.ts';
import type { NativeBlock, NativeModelDescription } from '../../native/runtime.ts';
import type {
  ActivationBits,
  DeviceBandwidth,
  DeviceModel,
  DeviceOptions,
  DeviceSession,
} from '../device.ts';
import type { GpuContext } from './context.ts';
import { measureCopyBandwidth } from './copy-bandwidth.ts';
import type { GpuPackage } from './gpu-package.ts';
import { gpuLimits } from './limits.ts';
import { tokensPerChunk } from './scratch.ts';
import { GpuSession } from './session.ts';
import { type GpuBlock, type GpuWeights, WeightUploader } from './weights.ts';

/** A packed model on a device. */
export class GpuModel implements DeviceModel {
  readonly kernelPath: string;
  readonly tokensPerChunk: number;
  readonly memoryBytes: Readonly<Record<string, number>>;
  readonly uploadMs: number;
  readonly #context: GpuContext;
  readonly #weights: GpuWeights;
  readonly #options: DeviceOptions;

  readonly #uploader: WeightUploader;
  readonly #onClose: () => void;
  #isClosed = false;

  private constructor(
    context: GpuContext,
    uploader: WeightUploader,
    weights: GpuWeights,
    options: DeviceOptions,
    uploadMs: number,
    onClose: () => void,
  ) {
    this.#context = context;
    this.#weights = weights;
    this.#uploader = uploader;
    this.#onClose = onClose;
    this.#options = options;
    this.uploadMs = uploadMs;
    this.tokensPerChunk = Math.min(tokensPerChunk(weights.description), context.mostTokensPerChunk);
    this.kernelPath = kernelPathOf(context, options.activationBits);
    this.memoryBytes = { weights: uploader.bytes };
  }

  /**
   * Uploads a checked package. `onClose` is called when the model is closed, after its buffers are gone; where loading fails, they are gone too. Throws DBellError.
   */
  static async load(
    context: GpuContext,
    source: GpuPackage,
    options: DeviceOptions,
    onClose: () => void,
  ): Promise<GpuModel> {
    refuseUnsupported(source);
    const uploader = new WeightUploader(context, source);
    const startedAt = performance.now();
    try {
      const weights = await context.checked('the weights', () => upload(uploader, source));
      await context.orLost(context.device.queue.onSubmittedWorkDone());
      const uploadMs = performance.now() - startedAt;
      const model = new GpuModel(context, uploader, weights, options, uploadMs, onClose);
      // Compiles every kernel, so that the first token does not pay for it.
      const session = await model.createSession(1);
      session.close();
      return model;
    } catch (error) {
      uploader.destroy();
      throw error;
    }
  }

  measureBandwidth(): Promise<DeviceBandwidth> {
    return measureCopyBandwidth(this.#context);
  }

  createSession(contextLength: number): Promise<DeviceSession> {
    const { tokensPerChunk } = this;
    return GpuSession.create(this.#context, this.#weights, contextLength, this.#options, tokensPerChunk);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#uploader.destroy();
    this.#onClose();
  }
}

export function kernelPathOf(context: GpuContext, activationBits: ActivationBits): string {
  if (activationBits === 16) return 'float-webgpu';
  return context.hasPackedDot ? 'webgpu-dot4' : 'webgpu-plain';
}

function refuseUnsupported({ path, description: { headDimension } }: GpuPackage): void {
  if (headDimension > gpuLimits.headDimension)
    throw new DBellError(
      'unsupported-model',
      `${path}: heads of ${headDimension} values do not run on a GPU, ${gpuLimits.headDimension} are possible; use --device cpu`,
    );
}

async function upload(
  uploader: WeightUploader,
  { description, isHeadTied }: GpuPackage,
): Promise<GpuWeights> {
  const { hiddenSize, vocabularySize, finalNorm, headBias } = description;
  const table = (name: string, value: NativeModelDescription['positions']) =>
    value ? uploader.table(name, value) : Promise.resolve(null);
  const embedding = await uploader.table('embedding', description.embedding);
  return {
    description,
    activation: description.activation as Activation,
    embedding,
    head: isHeadTied ? embedding : await uploader.table('head', description.head),
    headBias: headBias ? await uploader.vectors('head bias', [headBias, vocabularySize]) : null,
    positions: await table('positions', description.positions),
    projectIn: await table('project_in', description.projectIn),
    projectOut: await table('project_out', description.projectOut),
    finalNorm: finalNorm ? await uploader.norm(finalNorm, hiddenSize) : null,
    blocks: await inOrder(description.blocks, (block) => uploadBlock(uploader, description, block)),
  };
}

async function uploadBlock(
  uploader: WeightUploader,
  { hiddenSize, headDimension, headCount, intermediateSize }: NativeModelDescription,
  block: NativeBlock,
): Promise<GpuBlock> {
  const norm = (value: NativeBlock['queryNorm'], size: number) =>
    value ? uploader.norm(value, size) : Promise.resolve(null);
  return {
    attentionNorm: await uploader.norm(block.attentionNorm, hiddenSize),
    mlpNorm: await uploader.norm(block.mlpNorm, hiddenSize),
    queryNorm: await norm(block.queryNorm, headDimension),
    keyNorm: await norm(block.keyNorm, headDimension),
    attentionSubNorm: await norm(block.attentionSubNorm, headCount * headDimension),
    mlpSubNorm: await norm(block.mlpSubNorm, intermediateSize),
    q: await uploader.linear(block.q),
    k: await uploader.linear(block.k),
    v: await uploader.linear(block.v),
    o: await uploader.linear(block.o),
    gate: block.gate ? await uploader.linear(block.gate) : null,
    up: await uploader.linear(block.up),
    down: await uploader.linear(block.down),
  };
}

/** One after the other, so that one tensor at a time is held. */
async function inOrder<T, R>(values: readonly T[], action: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const value of values) results.push(await action(value));
  return results;
}
