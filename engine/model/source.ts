import type { Architecture } from './architecture.ts';
import type { GgufMetadata } from './gguf/metadata.ts';

/** Element types as they stand in files. GGUF block types keep ggml's names. */
export type StoredType =
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'F64'
  | 'I8'
  | 'U8'
  | 'I16'
  | 'I32'
  | 'I64'
  | 'U16'
  | 'U32'
  | 'U64'
  | 'BOOL'
  | 'Q8_0'
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'Q1_0'
  | 'Q2_0'
  /** Q2_0 in groups of 128, under the same number in the file (gguf/q2-groups.ts). */
  | 'Q2_0_G128'
  | 'TQ1_0'
  | 'TQ2_0'
  /** BitNet's packing in safetensors: four ternary codes a byte, one scale for the tensor (bitnet.ts). */
  | 'U8_TERNARY';

export interface TensorInfo {
  /** Hugging Face name. */
  name: string;
  storedType: StoredType;
  /** Row-major, outermost first (GGUF's order is reversed on reading). */
  shape: number[];
  storedBytes: number;
}

/**
 * A weight of few levels as it is stored: W_ij = s_{i,⌊j / groupSize⌋} · v(q_ij) with v(q) = 2q − 1 at two levels and q − 1 at three and four, in float32.
 * These are the very float32 values that reading the weight gives.
 */
export interface LowBitWeight {
  /** 4 only where the code 3 (+2) really occurs. */
  levels: 2 | 3 | 4;
  /** q, `[out, in]`. */
  codes: Uint8Array;
  /** s, `[out, ceil(in / groupSize)]`. */
  scales: Float32Array;
  /** Columns that share a scale. */
  groupSize: number;
}

/** Something a person should know about a model. `error` problems make the model unusable. */
export interface ModelProblem {
  severity: 'error' | 'warning';
  code: string;
  message: string;
  /** A path that is likely meant. */
  instead?: string;
}

/** A tokenizer's definition: what `@huggingface/tokenizers` is constructed from. */
export interface TokenizerDefinition {
  /** Parsed tokenizer.json (made from the metadata where the source is a GGUF). */
  tokenizer: Record<string, unknown>;
  /** Parsed tokenizer_config.json, or what corresponds to it. */
  config: Record<string, unknown>;
}

/**
 * An opened model: headers read and validated, weights read on demand. Reading is by position with 64-bit offsets; a
 * tensor is never read whole unless asked for whole.
 */
export interface ModelSource {
  /** Folder or .gguf file, absolute, links resolved. */
  readonly path: string;
  readonly format: 'huggingface' | 'gguf';
  readonly architecture: Architecture;
  /**
   * config.json as read, or as made from GGUF metadata: what a package's config.json starts from. `tie_word_embeddings` is always there and says
   * what was decided from the stored tensors.
   */
  readonly config: Record<string, unknown>;
  readonly generationConfig: Record<string, unknown> | null;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly tokenizer: TokenizerDefinition;
  /** Tokenizer and template files that a package copies unchanged: file name → bytes. */
  readonly tokenizerFiles: ReadonlyMap<string, Uint8Array>;
  /** Jinja source of the chat template, or null. */
  readonly chatTemplate: string | null;
  readonly license: string | null;
  /** All metadata of a GGUF file by key; absent or null for a folder. */
  readonly ggufMetadata?: GgufMetadata | null;
  readonly parameterCount: number;
  readonly fileBytes: number;
  readonly warnings: ModelProblem[];
  /**
   * SHA-256 over the headers and all tensor bytes, hex; computed at first call, seconds for a large model.
   */
  fingerprint(): Promise<string>;
  /**
   * Reads a tensor and widens it to float32 (exact for every stored type but F64, which is rounded). `into` must have the tensor's element count;
   * without it a new array is made. Throws DBellError `invalid-model` on NaN or Inf, naming tensor and index.
   */
  readFloat32(name: string, into?: Float32Array): Float32Array;
  /** Rows [begin, begin + count) of a 2-D tensor, flattened row-major; for embedding tables. */
  readRowsFloat32(name: string, begin: number, count: number, into?: Float32Array): Float32Array;
  /**
   * The weight's own codes and scales where it has only two to four levels (Q1_0, Q2_0, TQ1_0, TQ2_0, BitNet's packing, or float values that turn out to
   * have two or three in every row and 128 columns); null where it has more. Reads the whole weight.
   */
  lowBitWeight?(name: string): LowBitWeight | null;
  close(): void;
}
