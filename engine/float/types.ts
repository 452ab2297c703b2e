import type { FloatDevice } from '../contract/common.ts';
import type { StageName } from '../model/architecture.ts';

/** Activation bits: 16 = activations stay float; else really rounded, per token or block of a token (method.md section 3). */
export type ActivationBits = 16 | 8 | 6 | 4;

/** What shares a step where activations are rounded: all columns of a token, or each block of `columnsPerBlock` of them. */
export type ActivationScales = 'token' | 'block';

/** Columns of a block, in the packed format's scales as in the steps of rounded activations; the last block of a row may have fewer. */
export const columnsPerBlock = 128;

/**
 * Float32 weights of one block by Hugging Face tensor name (weights `[out, in]`, norms, biases). A quantized linear is simply another array
 * under the same name; no graph is rebuilt.
 */
export type BlockWeights = Map<string, Float32Array>;

/**
 * Multipliers of a stage's input columns, `[in]`, where a transform could not be folded into a norm: x' = c ∘ x before activation quantization.
 */
export type ColumnScales = Partial<Record<StageName, Float32Array>>;

/** State of one window between the stages of one block; arrays are `[context, size]`, row-major. */
export interface StageState {
  /** Block input (residual stream), `[context, hiddenSize]`. */
  hidden: Float32Array;
  /** Input of the stage just entered, `[context, in]`: after column scale and activation quantization, or without them (`preparation`). */
  stageInput?: Float32Array;
  /** Residual stream after the attention's addition, `[context, hiddenSize]`; set from mlp-in on. */
  residual?: Float32Array;
}

export interface BlockRunOptions {
  activationBits: ActivationBits;
  /** `token` by default. */
  activationScales?: ActivationScales;
  columnScales?: ColumnScales;
  /**
   * Whether stages' inputs cross the borders with column scale and activation quantization applied (`before`, the default) or without (`behind`: the
   * piece behind applies them, so that a stage's column scale may be found from its input). The same for all calls on one state.
   */
  preparation?: 'before' | 'behind';
}

/** The stages whose output is added to the residual stream. */
export type ResidualStage = 'attention-out' | 'mlp-out';

/** What `forwardWithTaps` is asked for beside the block's output. */
export interface BlockTaps {
  /** `max |x_j|` over the window's tokens, `[in]`, of these stages' float inputs (before column scale and activation quantization). */
  absMax?: StageName[];
  /** These inputs themselves, `[context, in]`. */
  inputs?: StageName[];
  /** The residual stream right behind a stage's addition, `[context, hiddenSize]`: before the norm where that stands behind. */
  sums?: ResidualStage[];
}

/**
 * Runs one block of one window, whole or cut at the stage borders. One implementation a context length; sessions are made once and
 * serve every block, since weights are inputs.
 *
 * The quantized stream goes: enterStage('attention-in') → (quantize q/k/v) → enterStage('attention-out') → (quantize o) → enterStage('mlp-in')
 * → (quantize gate/up) → enterStage('mlp-out') → (quantize down) → leaveBlock. Each enterStage computes from the state what stands between the
 * previous stage's input and this stage's input with the weights given, so the whole chain costs one forward pass.
 */
export interface BlockRunner {
  readonly context: number;
  /** Whole block in one graph; returns the next hidden state `[context, hiddenSize]`. */
  forward(
    blockIndex: number,
    weights: BlockWeights,
    hidden: Float32Array,
    options: BlockRunOptions,
  ): Promise<Float32Array>;
  /** Whole block; besides the next hidden state gives what `options` asks for. */
  forwardWithTaps(
    blockIndex: number,
    weights: BlockWeights,
    hidden: Float32Array,
    options: BlockRunOptions & BlockTaps,
  ): Promise<{
    hidden: Float32Array;
    absMax: Partial<Record<StageName, Float32Array>>;
    inputs: Partial<Record<StageName, Float32Array>>;
    sums: Partial<Record<ResidualStage, Float32Array>>;
  }>;
  /**
   * Advances `state` to the border of `stage` and leaves that stage's input in `state.stageInput`. With `gram`, adds XᵀX of that input to it, with
   * `gramRowScale` `[context]` of its rows multiplied by these factors (√w for Σ w x xᵀ).
   */
  enterStage(
    blockIndex: number,
    stage: StageName,
    weights: BlockWeights,
    state: StageState,
    options: BlockRunOptions & { gram?: GramAccumulator; gramRowScale?: Float32Array },
  ): Promise<void>;
  /** From the border of mlp-out to the block's output `[context, hiddenSize]`. */
  leaveBlock(
    blockIndex: number,
    weights: BlockWeights,
    state: StageState,
    options: BlockRunOptions,
  ): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Sums XᵀX over windows in float64. */
export interface GramAccumulator {
  readonly size: number;
  /** Rows that went in. */
  readonly tokens: number;
  /** `[size, size]`, symmetric, row-major, the plain sum Σ x xᵀ. */
  matrix(): Float64Array;
}

/** Sums of Σ w_t a_t x_tᵀ over windows in float64, with the sums of w a and w x; a `[leftSize]`, x `[rightSize]`. */
export interface CrossProductAccumulator {
  readonly leftSize: number;
  readonly rightSize: number;
  /**
   * Adds one window.
   *
   * @param window.left a, `[context, leftSize]`
   * @param window.minus what is subtracted from a first, of the same shape, or null
   * @param window.right x, `[context, rightSize]`
   * @param window.tokenWeights w, `[context]`, or null for 1
   * @param place for the message where a sum leaves the range of float32
   */
  add(
    window: {
      left: Float32Array;
      minus: Float32Array | null;
      right: Float32Array;
      tokenWeights: Float32Array | null;
    },
    place: string,
  ): Promise<void>;
  /** Σ w a xᵀ, `[leftSize, rightSize]`: the sums themselves. */
  readonly product: Float64Array;
  /** Σ w a, `[leftSize]`. */
  readonly leftSum: Float64Array;
  /** Σ w x, `[rightSize]`. */
  readonly rightSum: Float64Array;
}

/** Full-precision execution of a model, block by block; holds one block of weights unless told otherwise. */
export interface FloatEngine {
  /** What computes. */
  readonly device: FloatDevice;
  /** Weights of a block, read from the source as float32. */
  loadBlock(blockIndex: number): BlockWeights;
  /** Embeddings (and learned positions, and project_in) of a window, `[ids.length, hiddenSize]`. */
  embed(ids: Int32Array): Float32Array;
  blockRunner(context: number): Promise<BlockRunner>;
  newGram(size: number): GramAccumulator;
  newCrossProduct(leftSize: number, rightSize: number): CrossProductAccumulator;
  /**
   * Adds XᵀX of the head's input (behind final norm, project_out and rounding to `activationBits`) for rows of the last block's output, `[rows, hiddenSize]`.
   * The accumulator has the embedding's size.
   */
  addHeadGram(hidden: Float32Array, gram: GramAccumulator, activationBits: ActivationBits): Promise<void>;
  /** Final norm, project_out, head and losses: natural-log loss of ids[1…], `[ids.length − 1]`. */
  tokenLosses(hidden: Float32Array, ids: Int32Array): Promise<Float32Array>;
  /** Logits of the given rows of `hidden`, `[rows, vocabularySize]`. */
  logits(hidden: Float32Array, rows: number): Promise<Float32Array>;
  close(): Promise<void>;
}
