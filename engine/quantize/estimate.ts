import { performance } from 'node:perf_hooks';
import type { EmbeddingBits } from '../contract/common.ts';
import { floatMemoryEstimate } from '../float/memory-estimate.ts';
import type { FloatEngine } from '../float/types.ts';
import { type Architecture, type Block, type Linear, linearsOf } from '../model/architecture.ts';
import {
  padded,
  residualColumnCount,
  storedCodeBytes,
  storedResidualBytes,
  storedRowValueBytes,
} from './code-storage.ts';
import { blockForwardOperations, blockOperations, headOperations } from './cost-model.ts';
import { baseProcessBytes } from './limits.ts';
import { blockCount } from './quantized-linear.ts';
import type { Recipe } from './recipe.ts';
import { storesColumnScale, usesFloatStream, usesHessians } from './resolve-recipe.ts';
import { fitBytes, scratchBytes, tapWindowBytes } from './scratch-estimate.ts';

/** What a quantization will need, itemised; all terms in bytes or milliseconds. */
export interface QuantizationEstimate {
  packageBytes: { linears: number; embeddingAndHead: number; other: number; total: number };
  /** 8 · bytes of the quantized linears / their weights, padding included. */
  storedBitsPerWeight: number;
  /** On the output's volume while the job runs. */
  diskBytes: { hiddenStates: number; stageStates: number; package: number; total: number };
  /** Resident at the peak. */
  memoryBytes: {
    /** Node, onnxruntime and the addon. */
    base: number;
    /** One block's weights: float, transformed, and one linear as codes and as float; targets and fit of a stage. */
    blockWeights: number;
    /** Gram matrix, Hessian and its factor of the widest stage. */
    hessians: number;
    /** Activations inside onnxruntime's sessions, attention scores included. */
    onnxruntime: number;
    /** Hidden states and stage inputs of a window, as read and as computed. */
    window: number;
    total: number;
  };
  /** `assumed`: from a typical CPU's speed; `measured`: from one block of this model on this machine. */
  timeMs: { low: number; expected: number; high: number; basis: 'assumed' | 'measured' };
}

export interface EstimateInputs {
  architecture: Architecture;
  recipe: Recipe;
  embeddingBits: EmbeddingBits;
  /** Zero for recipes that need no text. */
  windowCount: number;
  context: number;
  threads: number;
  /** Levels of the model's own weights, for recipes that keep them. */
  keptLevels?: 2 | 3;
  /** From `measureSpeed`; without it a typical CPU is assumed. */
  operationsPerSecond?: number;
}

/** Float32 operations a second of one thread in matrix products: slow laptop, typical, fast server. */
const assumedSpeedPerThread = { low: 12e9, expected: 40e9, high: 90e9 };
/** Spread of the whole job against a measured block: other programs, disk, clock, how early LTDB stops. */
const measuredSpread = { low: 0.7, high: 1.8 };

const float16Bytes = 2;
const float32Bytes = 4;
/** Levels, and fp16 values for each row and block, that a binarizer stores as tensors of their own. */
function storedParts(
  binarizer: Recipe['binarizer'],
  keptLevels: 2 | 3,
): {
  levels: number;
  valueTensors: number[];
  mask: boolean;
} {
  switch (binarizer.kind) {
    case 'structured':
      return { levels: 4, valueTensors: [7], mask: true };
    case 'uniform':
      return { levels: 2 ** binarizer.bits, valueTensors: [1, 1], mask: false };
    case 'grid':
      return { levels: binarizer.levels, valueTensors: [1], mask: false };
    case 'as-is':
      return { levels: keptLevels, valueTensors: [1], mask: false };
  }
}

/** Stored bytes of one quantized linear (docs/format.md: codes, scales or levels, residual columns, masks, bias). */
export function storedLinearBytes(
  linear: Linear,
  recipe: Recipe,
  columnScale: boolean,
  keptLevels: 2 | 3 = 3,
): number {
  const { outFeatures, inFeatures } = linear;
  const { binarizer } = recipe;
  const { levels, valueTensors, mask } = storedParts(binarizer, keptLevels);
  let bytes = storedCodeBytes(levels, outFeatures, inFeatures);
  for (const values of valueTensors) bytes += storedRowValueBytes(outFeatures, inFeatures, values);
  const residual = binarizer.kind === 'grid' ? residualColumnCount(binarizer.residualPercent, inFeatures) : 0;
  if (residual > 0) bytes += storedResidualBytes(outFeatures, residual);
  if (mask) bytes += padded(blockCount(inFeatures) * 16);
  if (columnScale) bytes += padded(inFeatures * float32Bytes);
  if (linear.bias !== null) bytes += padded(outFeatures * float32Bytes);
  return bytes;
}

function tableBytes(rows: number, columns: number, bits: EmbeddingBits): number {
  if (bits === 16) return padded(rows * columns * float16Bytes);
  const groups = Math.ceil(columns / 32);
  if (bits === 8) return padded(rows * groups * 32) + padded(rows * groups * float16Bytes);
  const storedRows = 16 * Math.ceil(rows / 16);
  return padded((storedRows * groups * 32 * bits) / 8) + padded(storedRows * groups * float16Bytes);
}

function packageBytes({ architecture, recipe, embeddingBits, keptLevels }: EstimateInputs): {
  bytes: QuantizationEstimate['packageBytes'];
  bitsPerWeight: number;
} {
  let linears = 0;
  let weights = 0;
  let other = 0;
  for (const block of architecture.blocks) {
    for (const stage of block.stages) {
      const explicit = storesColumnScale(recipe, stage);
      for (const linear of stage.linears) {
        linears += storedLinearBytes(linear, recipe, explicit, keptLevels);
        weights += linear.inFeatures * linear.outFeatures;
      }
    }
    other += 4 * padded(architecture.hiddenSize * float32Bytes);
  }
  const { vocabularySize, contextLength, hiddenSize, embedding, head, position } = architecture;
  const table = tableBytes(vocabularySize, embedding.embeddingSize, embeddingBits);
  if (position.kind === 'learned') {
    other += padded((contextLength + position.offset) * hiddenSize * float16Bytes);
  }
  if (embedding.projectIn) other += padded(hiddenSize * embedding.embeddingSize * float16Bytes);
  if (embedding.projectOut) other += padded(hiddenSize * embedding.embeddingSize * float16Bytes);
  const embeddingAndHead = head.tied ? table : 2 * table;
  return {
    bytes: { linears, embeddingAndHead, other, total: linears + embeddingAndHead + other },
    bitsPerWeight: weights > 0 ? (8 * linears) / weights : 0,
  };
}

function streamCount(recipe: Recipe): number {
  return Number(usesFloatStream(recipe)) + Number(usesHessians(recipe));
}

function memoryBytes(inputs: EstimateInputs, block: Block): QuantizationEstimate['memoryBytes'] {
  const { architecture, recipe, context } = inputs;
  const sizes = linearsOf(block).map((linear) => linear.inFeatures * linear.outFeatures);
  const weights = sizes.reduce((sum, size) => sum + size, 0);
  const largest = Math.max(0, ...sizes);
  // Float and transformed or dequantized; of the linear at hand also the working copy, codes and float result.
  const blockWeights = float32Bytes * (2 * weights + 2 * largest) + largest + fitBytes(block, recipe);
  const float = floatMemoryEstimate(architecture, context);
  const { gramAccumulators, gramMatrices, sessionScratch } = float;
  const perBlock = recipe.compensation.hessian === 'per-block';
  let hessians = 0;
  if (usesHessians(recipe)) {
    const accumulators = Object.values(gramAccumulators);
    const widestMatrix = Math.max(...Object.values(gramMatrices));
    hessians = perBlock ? accumulators.reduce((sum, bytes) => sum + bytes, 0) : Math.max(...accumulators);
    // H itself, a working copy in float64, and the factor before and after its inversion in float32.
    hessians += 3 * widestMatrix;
  }
  let onnxruntime = 0;
  if (usesFloatStream(recipe) || (usesHessians(recipe) && perBlock)) onnxruntime += sessionScratch.wholeBlock;
  if (usesHessians(recipe)) onnxruntime += sessionScratch.pieces;
  // What is read, what is computed from it, and what the collector has not taken back yet.
  const window =
    (streamCount(recipe) > 0 ? 3 * float.windowState : 0) +
    tapWindowBytes(architecture, block, recipe, context);
  const total = baseProcessBytes + blockWeights + hessians + onnxruntime + window;
  return { base: baseProcessBytes, blockWeights, hessians, onnxruntime, window, total };
}

/** What the job will need. Bytes of the package follow from the format; memory and time are estimates. */
export function estimateQuantization(inputs: EstimateInputs): QuantizationEstimate {
  const { architecture, recipe, windowCount, context, threads } = inputs;
  const block = architecture.blocks[0];
  if (!block) throw new Error('a model has at least one block');
  const stored = packageBytes(inputs);
  const tokens = windowCount * context;
  // Two generations of each stream.
  const hiddenStates = 2 * streamCount(recipe) * tokens * architecture.hiddenSize * float32Bytes;
  const stageStates = scratchBytes(architecture, block, recipe, tokens);
  // Blocks are packed one by one and then put together: both stand for a moment.
  const packageOnDisk = 2 * stored.bytes.total;
  const operations = architecture.blocks.reduce(
    (sum, each) => sum + blockOperations(architecture, each, recipe, windowCount, context),
    headOperations(architecture, recipe, inputs.embeddingBits, windowCount, context),
  );
  const speed = inputs.operationsPerSecond;
  const milliseconds = (operationsPerSecond: number): number => (1000 * operations) / operationsPerSecond;
  const timeMs: QuantizationEstimate['timeMs'] = speed
    ? {
        low: measuredSpread.low * milliseconds(speed),
        expected: milliseconds(speed),
        high: measuredSpread.high * milliseconds(speed),
        basis: 'measured',
      }
    : {
        low: milliseconds(assumedSpeedPerThread.high * threads),
        expected: milliseconds(assumedSpeedPerThread.expected * threads),
        high: milliseconds(assumedSpeedPerThread.low * threads),
        basis: 'assumed',
      };
  return {
    packageBytes: stored.bytes,
    storedBitsPerWeight: stored.bitsPerWeight,
    diskBytes: {
      hiddenStates,
      stageStates,
      package: packageOnDisk,
      total: hiddenStates + stageStates + packageOnDisk,
    },
    memoryBytes: memoryBytes(inputs, block),
    timeMs,
  };
}

/**
 * Speed of one block of this model in matrix-product operations a second; takes about as long as one window through one block, twice.
 */
export async function measureSpeed(
  engine: FloatEngine,
  architecture: Architecture,
  context: number,
): Promise<number> {
  const block = architecture.blocks[0];
  if (!block) throw new Error('a model has at least one block');
  const weights = engine.loadBlock(block.index);
  const runner = await engine.blockRunner(context);
  const hidden = engine.embed(new Int32Array(context));
  // The first run prepares the graph.
  await runner.forward(block.index, weights, hidden, { activationBits: 16 });
  const started = performance.now();
  await runner.forward(block.index, weights, hidden, { activationBits: 16 });
  const seconds = Math.max(1e-6, (performance.now() - started) / 1000);
  return blockForwardOperations(architecture, block, context) / seconds;
}
