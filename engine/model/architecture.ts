/**
 * What a model is, in one description from which everything else is derived: the float graphs, the list of linears that
 * are quantized and in which order, the packed runtime, the memory estimate. A new family is one file in `families/`.
 *
 * Weights are always named as in the family's Hugging Face checkpoints, whatever file they come from.
 */
export type FamilyName = 'llama' | 'mistral' | 'qwen2' | 'qwen3' | 'bitnet' | 'opt';

export type Activation = 'silu' | 'relu' | 'relu_squared' | 'gelu' | 'gelu_tanh' | 'quick_gelu';

/** How a rotary embedding's frequencies are changed for long contexts; unsupported kinds are refused when read. */
export type RopeScaling =
  | { kind: 'none' }
  | { kind: 'linear'; factor: number }
  | {
      kind: 'llama3';
      factor: number;
      lowFrequencyFactor: number;
      highFrequencyFactor: number;
      originalContextLength: number;
    };

export type Position =
  | { kind: 'rope'; theta: number; scaling: RopeScaling; rotaryDimensions: number }
  /** OPT: row `position + offset` of a learned table `[contextLength + offset, hiddenSize]`. */
  | { kind: 'learned'; offset: number; table: string };

export interface Norm {
  kind: 'rms' | 'layer';
  epsilon: number;
  /** Name of the weight, `[size]`; null when the norm has no affine part. */
  weight: string | null;
  /** Name of the bias, `[size]`; null when there is none. */
  bias: string | null;
}

/** Role of a linear within a block, by the Hugging Face names of the LLaMA family. OPT's fc1 is `up`, its fc2 is `down`. */
export type LinearRole = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down';

export interface Linear {
  role: LinearRole;
  /** Module name; the weight is `${name}.weight`, `[outFeatures, inFeatures]`, row-major. */
  name: string;
  inFeatures: number;
  outFeatures: number;
  /** Name of the bias, `[outFeatures]`, or null. */
  bias: string | null;
}

/**
 * The four stages of a block, in the order in which they are quantized. All linears of a stage read the same input:
 * the first norm's output, the attention's output, the second norm's output, the activation's output.
 */
export type StageName = 'attention-in' | 'attention-out' | 'mlp-in' | 'mlp-out';

export interface Stage {
  name: StageName;
  linears: Linear[];
  /**
   * The norm whose output is the stage's input and goes nowhere else, so that a column scale folds into its affine part;
   * null where there is none (attention-out, mlp-out, and norms that also feed the residual stream).
   */
  foldableNorm: Norm | null;
}

export interface Block {
  index: number;
  /** Norm around the attention: before it (`pre`) or after its residual addition (`post`, OPT-350M). */
  attentionNorm: Norm;
  /** RMS norms over head_dim of each query and key head (Qwen3), before the rotary embedding; else null. */
  queryNorm: Norm | null;
  keyNorm: Norm | null;
  mlpNorm: Norm;
  /** BitNet: RMS norm over the attention's output, in front of o; else null. */
  attentionSubNorm: Norm | null;
  /** BitNet: RMS norm over the activation's output, in front of down; else null. */
  mlpSubNorm: Norm | null;
  stages: [Stage, Stage, Stage, Stage];
}

export interface Architecture {
  family: FamilyName;
  /** `model_type` of config.json, verbatim. */
  modelType: string;
  hiddenSize: number;
  intermediateSize: number;
  headCount: number;
  keyValueHeadCount: number;
  /** May differ from hiddenSize / headCount. */
  headDimension: number;
  vocabularySize: number;
  contextLength: number;
  normPlacement: 'pre' | 'post';
  position: Position;
  activation: Activation;
  /** `gated`: down(act(gate x) * up x). `plain`: down(act(up x)). */
  mlp: 'gated' | 'plain';
  embedding: {
    /** `[vocabularySize, embeddingSize]`. */
    table: string;
    embeddingSize: number;
    /** OPT-350M: linears between embeddingSize and hiddenSize, never quantized; weight names or null. */
    projectIn: string | null;
    projectOut: string | null;
  };
  /** Null for OPT models without one. */
  finalNorm: Norm | null;
  head: {
    /** Name of the weight, `[vocabularySize, embeddingSize]`; equals `embedding.table` where tied. */
    weight: string;
    tied: boolean;
    bias: string | null;
  };
  /** Sliding attention window in tokens (Mistral), or null. Contexts up to this length are exact. */
  slidingWindow: number | null;
  blocks: Block[];
  /** Ids that end generation: the union of config.json, generation_config.json and the tokenizer. */
  endOfTextIds: number[];
  beginOfTextId: number | null;
}

/** All linears of a block in quantization order. */
export function linearsOf(block: Block): Linear[] {
  return block.stages.flatMap((stage) => stage.linears);
}
