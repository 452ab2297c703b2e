import type { Architecture, StageName } from '../model/architecture.ts';
import { gramPanels } from './gram.ts';
import { queriesPerTile } from './graphs/attention.ts';
import { stageOrder } from './graphs/block-graph.ts';
import { blockParameters, stageInputSize } from './graphs/parameters.ts';
import { headTileRows } from './head.ts';

const floatBytes = 4;
const doubleBytes = 8;

/** onnxruntime's arena grows in powers of two and fragments: measured 1.5 times what lives at once (hidden 576, context 2048). */
const arenaGrowth = 1.5;

/** Bytes of one block's weights as float32. */
export function blockWeightBytes(architecture: Architecture): number {
  return blockParameters(architecture, architecture.blocks[0]!).reduce(
    (sum, { shape }) => sum + floatBytes * shape.reduce((product, extent) => product * extent, 1),
    0,
  );
}

/** Bytes that each part of the float path holds; which of them stand side by side is the caller's to say. */
export interface FloatMemoryEstimate {
  /** One block of weights, float32. */
  blockWeights: number;
  /** Sums of XᵀX in float64, upper panels, by stage. */
  gramAccumulators: Record<StageName, number>;
  /** The mirrored XᵀX in float64, by stage. */
  gramMatrices: Record<StageName, number>;
  /** One window between two stages: hidden, residual and the widest stage input, float32. */
  windowState: number;
  /** One window's hidden state, float32: the unit of what is written to disk. */
  windowHidden: number;
  /**
   * What onnxruntime's sessions hold: activations that live at once, and the scores of one attention tile twice. A session keeps its memory for the next
   * run, so the whole block and its five pieces add up where both are used.
   */
  sessionScratch: { wholeBlock: number; pieces: number };
  /** Weights of the head (with a tied table: the table), float32. */
  head: number;
  /** Logits and log-probabilities of one tile of rows. */
  headScratch: number;
}

/** Itemised memory of full-precision execution with windows of `context` tokens, in bytes, from the architecture alone. */
export function floatMemoryEstimate(architecture: Architecture, context: number): FloatMemoryEstimate {
  const { hiddenSize, intermediateSize, headCount, keyValueHeadCount, headDimension, vocabularySize } =
    architecture;
  const byStage = (bytes: (size: number) => number): Record<StageName, number> =>
    Object.fromEntries(
      stageOrder.map((stage) => [stage, bytes(stageInputSize(architecture, stage))]),
    ) as Record<StageName, number>;
  const panelBytes = (size: number): number =>
    doubleBytes * gramPanels(size).reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const queryWidth = headCount * headDimension;
  const keyWidth = keyValueHeadCount * headDimension;
  const widest = Math.max(...stageOrder.map((stage) => stageInputSize(architecture, stage)));
  const scores = 2 * headCount * Math.min(queriesPerTile, context) * context;
  const mlpWidth = (architecture.mlp === 'gated' ? 4 : 2) * intermediateSize;
  // Widths of the values that live at once in each piece; inputs belong to the caller.
  const attentionWidth = hiddenSize + 3 * queryWidth + 4 * keyWidth;
  const piece = (width: number, extra = 0): number => arenaGrowth * floatBytes * (context * width + extra);
  const wholeBlock = Math.max(
    piece(hiddenSize + attentionWidth, scores),
    piece(2 * hiddenSize + mlpWidth, scores),
  );
  const pieces =
    piece(2 * hiddenSize) +
    piece(attentionWidth, scores) +
    piece(4 * hiddenSize) +
    piece(hiddenSize + mlpWidth) +
    piece(3 * hiddenSize + intermediateSize);
  const headWeights =
    vocabularySize * architecture.embedding.embeddingSize +
    (architecture.embedding.projectOut ? architecture.embedding.embeddingSize * hiddenSize : 0);
  return {
    blockWeights: blockWeightBytes(architecture),
    gramAccumulators: byStage(panelBytes),
    gramMatrices: byStage((size) => doubleBytes * size * size),
    windowState: floatBytes * context * (2 * hiddenSize + widest),
    windowHidden: floatBytes * context * hiddenSize,
    sessionScratch: { wholeBlock, pieces },
    head: floatBytes * headWeights,
    headScratch: 2 * floatBytes * Math.min(headTileRows(vocabularySize), context) * vocabularySize,
  };
}
