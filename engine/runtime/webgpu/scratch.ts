import type { NativeModelDescription } from '../../native/runtime.ts';
import { type GpuContext, usage } from './context.ts';
import { chunkFields } from './kernels/kernel.ts';
import { gpuLimits } from './limits.ts';
import type { InputBuffers, RowBuffer } from './steps.ts';
import type { GpuLinear, GpuWeights } from './weights.ts';

/** Rows of float32 end at a multiple of 16 values, as linears write whole row groups. */
export const paddedWidth = (width: number): number => Math.ceil(width / 16) * 16;

/** Buffers of a chunk of tokens. */
export interface Scratch {
  chunk: GPUBuffer;
  ids: GPUBuffer;
  targets: GPUBuffer;
  angles: GPUBuffer;
  losses: GPUBuffer;
  hidden: RowBuffer;
  normed: RowBuffer;
  query: RowBuffer;
  key: RowBuffer;
  value: RowBuffer;
  attention: RowBuffer;
  projected: RowBuffer;
  gate: RowBuffer;
  up: RowBuffer;
  embedded: RowBuffer;
  headRows: RowBuffer;
  logits: RowBuffer;
  /** Tokens of a chunk. */
  tokens: number;
  /** Rows that `logits` has room for. */
  logitRows: number;
  inputs: InputBuffers;
  bytes: number;
  destroy(): void;
}

export function createInputs(
  create: (label: string, words: number) => GPUBuffer,
  tokens: number,
  widths: { columns: number; gathered: number; integer: boolean },
): InputBuffers {
  const blocks = Math.ceil(widths.columns / 128);
  const gathered = Math.ceil(widths.gathered / 128);
  const { integer } = widths;
  const words = (count: number, isUsed: boolean) => (isUsed ? tokens * count : 1);
  return {
    // A quantized head has groups of 32 columns: four times the sums of a linear's blocks, for which steps by block leave room too.
    quantized: create('quantized input', words(32 * blocks, true)),
    side: create('scales of the input', words(4 * blocks + 1, true)),
    floats: create('float input', words(128 * blocks, !integer)),
    gatheredQuantized: create('gathered input', words(32 * gathered, integer)),
    gatheredSide: create('scales of the gathered input', words(gathered + 1, integer)),
    gatheredFloats: create('gathered float input', words(128 * gathered, !integer)),
    status: create('status', 4),
  };
}

/**
 * Tokens of a model's chunks: the most whose rows and whose work keep to the limits, and at least the fewest of the list. The work of attention is that of a full context, up to
 * `gpuLimits.attendedPositions`.
 */
export function tokensPerChunk(description: NativeModelDescription): number {
  const { hiddenSize, headCount, keyValueHeadCount, headDimension, intermediateSize, blocks } = description;
  const positions = Math.min(description.contextLength, gpuLimits.attendedPositions);
  const attention = headCount * headDimension;
  const keys = keyValueHeadCount * headDimension;
  // hidden, normed, projected; query and attention; key and value; gate and up; the padded input.
  const rowValues =
    3 * hiddenSize +
    2 * attention +
    2 * keys +
    2 * intermediateSize +
    Math.max(hiddenSize, attention, intermediateSize);
  const perToken =
    2 * hiddenSize * (attention + keys) + 3 * hiddenSize * intermediateSize + 2 * attention * positions;
  const fits = (tokens: number) =>
    4 * rowValues * tokens <= gpuLimits.chunkBytes &&
    2 * blocks.length * perToken * tokens <= gpuLimits.chunkOperations;
  return gpuLimits.tokensPerChunk.find(fits) ?? gpuLimits.tokensPerChunk.at(-1)!;
}

/** Buffers for chunks of `tokens` tokens, with activations rounded to integers or not. Throws DBellError `out-of-memory`. */
export function createScratch(
  context: GpuContext,
  weights: GpuWeights,
  { tokens, integer }: { tokens: number; integer: boolean },
): Scratch {
  const { description, blocks } = weights;
  const { hiddenSize, headCount, keyValueHeadCount, headDimension, intermediateSize } = description;
  const { embeddingSize, vocabularySize, inverseFrequencies } = description;
  const buffers: GPUBuffer[] = [];
  const create = (label: string, words: number, extraUsage = 0): GPUBuffer => {
    const buffer = context.createBuffer('scratch', label, 4 * words, extraUsage);
    buffers.push(buffer);
    return buffer;
  };
  const rows = (label: string, width: number): RowBuffer => ({
    buffer: create(label, tokens * paddedWidth(width)),
    stride: paddedWidth(width),
  });
  const querySize = headCount * headDimension;
  const keySize = keyValueHeadCount * headDimension;
  const isGated = blocks.some(({ gate }) => gate !== null);
  const logitRows = Math.max(1, Math.min(tokens, Math.floor(gpuLimits.logitBytes / (4 * vocabularySize))));
  const scratch: Omit<Scratch, 'bytes' | 'destroy'> = {
    tokens,
    chunk: create('chunk', chunkFields.length, usage.uniform),
    ids: create('ids', tokens),
    targets: create('targets', tokens),
    angles: create('angles', 2 * tokens * (inverseFrequencies?.length ?? 1)),
    losses: create('losses', tokens),
    hidden: rows('hidden', hiddenSize),
    normed: rows('normed', hiddenSize),
    query: rows('query', querySize),
    key: rows('key', keySize),
    value: rows('value', keySize),
    attention: rows('attention', querySize),
    projected: rows('projected', hiddenSize),
    gate: rows('gate', isGated ? intermediateSize : 1),
    up: rows('up', intermediateSize),
    embedded: rows('embedded', weights.projectIn ? embeddingSize : 1),
    headRows: rows('head rows', weights.projectOut ? embeddingSize : 1),
    logits: { buffer: create('logits', logitRows * vocabularySize), stride: vocabularySize },
    logitRows,
    inputs: createInputs(create, tokens, {
      columns: Math.max(hiddenSize, querySize, intermediateSize, embeddingSize),
      gathered: Math.max(0, ...blocks.flatMap(linearsOfBlock).map((linear) => linear.residual?.count ?? 0)),
      integer,
    }),
  };
  return {
    ...scratch,
    bytes: buffers.reduce((sum, buffer) => sum + buffer.size, 0),
    destroy() {
      for (const buffer of buffers) context.destroyBuffer('scratch', buffer);
    },
  };
}

function linearsOfBlock({ q, k, v, o, gate, up, down }: GpuWeights['blocks'][number]): GpuLinear[] {
  return [q, k, v, o, ...(gate ? [gate] : []), up, down];
}
