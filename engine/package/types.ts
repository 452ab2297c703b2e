import type { BlockWeights, ColumnScales } from '../float/types.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ModelProblem, ModelSource, TokenizerDefinition } from '../model/source.ts';
import type { QuantizedLinear } from '../quantize/quantized-linear.ts';
import type { ActivationScales } from '../quantize/recipe.ts';
import type { PackageQuality, QuantizationConfig } from './schema.ts';

/** Element types that occur in a packed model.safetensors. */
export type PackedDtype = 'U8' | 'I8' | 'I32' | 'F16' | 'F32';

/** Where a tensor's bytes stand in model.safetensors. */
export interface TensorLocation {
  name: string;
  dtype: PackedDtype;
  /** True shape, row-major, without the padding at the end. */
  shape: number[];
  /** Position of the first byte in the file (not in the data section); a multiple of 64. */
  offset: number;
  /** Bytes that hold values: product of `shape` · element size. */
  valueBytes: number;
  /** Bytes stored, zero padding at the end included; a multiple of 64. This is what counts as stored. */
  byteLength: number;
}

interface PackedLinearBase {
  /** Module name, e.g. `model.layers.0.self_attn.q_proj`. */
  name: string;
  outFeatures: number;
  inFeatures: number;
  /** ceil(outFeatures / 16). */
  rowGroups: number;
  /** ceil(inFeatures / 32). */
  lines: number;
  /** ceil(inFeatures / 128). */
  blocks: number;
  /** Planes that codes take, also where they are stored in base 3. */
  planeCount: number;
  /** Planes U8 `[rowGroups, lines, planeCount, 64]`, or base 3 U8 `[rowGroups, 16 · bytes of a row]`; padding rows and columns are zero. */
  codes: TensorLocation;
  /** F32 `[inFeatures]`, or null. */
  columnScale: TensorLocation | null;
  /** F32 `[outFeatures]`, or null. */
  bias: TensorLocation | null;
  /** Bytes of all of this linear's tensors, padding included. */
  storedBytes: number;
}

/** Salient residual columns (docs/format.md section 3): one more plane over a gathered list of columns. */
export interface PackedResidual {
  /** Columns that have a residual. */
  count: number;
  /** I32 `[count]`, ascending. */
  columns: TensorLocation;
  /** U8 `[rowGroups, ceil(count / 32), 1, 64]`. */
  planes: TensorLocation;
  /** F16 `[rowGroups, ceil(count / 128), 16]`. */
  scales: TensorLocation;
}

export interface PackedGridLinear extends PackedLinearBase {
  layout: 'grid';
  /** Base 3 holds three levels only. */
  codeLayout: 'planes' | 'base-3';
  /** 2 … 256; planeCount = ceil(log2 levels). */
  levels: number;
  /** r: F16 `[rowGroups, blocks, 16]`; rows beyond outFeatures are zero. */
  scales: TensorLocation;
  /** m: F16 `[rowGroups, blocks, 16]`, or null. */
  offsets: TensorLocation | null;
  /** t: F32 `[outFeatures]`, or null. */
  rowScale: TensorLocation | null;
  residual: PackedResidual | null;
}

export interface PackedStructuredLinear extends PackedLinearBase {
  layout: 'structured';
  codeLayout: 'planes';
  planeCount: 2;
  /** F16 `[rowGroups, blocks, 7, 16]`, the seven values in the order of `StructuredLinear.levels`. */
  levels: TensorLocation;
  /** U8 `[blocks, 16]`; bit b of byte k ↔ column 8k + b of the block, 1 = salient. */
  salientMask: TensorLocation;
}

export type PackedLinear = PackedGridLinear | PackedStructuredLinear;

/** Embedding table or LM head, `[rows, columns]`. */
export type PackedTable =
  | {
      bits: 16;
      /** Tensor name as in the family's checkpoints, e.g. `model.embed_tokens.weight`. */
      name: string;
      rows: number;
      columns: number;
      /** F16 `[rows, columns]`. */
      values: TensorLocation;
      storedBytes: number;
    }
  | {
      bits: 8;
      name: string;
      rows: number;
      columns: number;
      /** ceil(columns / 32). */
      groups: number;
      /** I8 `[rows, groups · 32]`, −127 … 127, columns beyond the true ones are zero. value = scale · code. */
      codes: TensorLocation;
      /** F16 `[rows, groups]`. */
      scales: TensorLocation;
      storedBytes: number;
    }
  | {
      bits: 6 | 4;
      name: string;
      rows: number;
      columns: number;
      /** ceil(columns / 32). */
      groups: number;
      /** U8 `[ceil(rows / 16), groups, bits, 64]`; value = scale · (field − 2^(bits − 1)), fields beyond the true rows and columns are zero. */
      codes: TensorLocation;
      /** F16 `[ceil(rows / 16), groups, 16]`; may be negative. */
      scales: TensorLocation;
      storedBytes: number;
    }
  | {
      /** A grid of few levels; `linear` has no more than codes and scales. */
      bits: 'grid';
      name: string;
      rows: number;
      columns: number;
      linear: PackedGridLinear;
      storedBytes: number;
    };

/**
 * An opened packed model: config, headers and every structural value checked, weights read on demand. The runtime maps `modelPath` itself
 * and finds everything through the locations.
 */
export interface PackageSource {
  /** Package folder, absolute, links resolved. */
  readonly path: string;
  /** The folder's model.safetensors. */
  readonly modelPath: string;
  /** Size of model.safetensors. */
  readonly modelBytes: number;
  /** Every file of the package. */
  readonly packageBytes: number;
  /** config.json as read, quantization_config included. */
  readonly config: Record<string, unknown>;
  readonly generationConfig: Record<string, unknown> | null;
  readonly architecture: Architecture;
  readonly tokenizer: TokenizerDefinition;
  readonly tokenizerFiles: ReadonlyMap<string, Uint8Array>;
  readonly chatTemplate: string | null;
  readonly quantization: QuantizationConfig;
  readonly quality: PackageQuality;
  /** Bits of the activations that the package was made for. */
  readonly activationBits: 16 | 8 | 6 | 4;
  /** What shares a step of rounded activations. */
  readonly activationScales: ActivationScales;
  /** By module name, in quantization order. */
  readonly linears: ReadonlyMap<string, PackedLinear>;
  readonly embedding: PackedTable;
  /** The very same object as `embedding` where the head is tied. */
  readonly head: PackedTable;
  /**
   * All other float tensors by name: norms and biases (F32), learned positions, project_in and project_out (F16).
   */
  readonly floats: ReadonlyMap<string, TensorLocation>;
  readonly storedBitsPerWeight: number;
  readonly warnings: ModelProblem[];
  /** Exactly what was packed. Throws DBellError `not-found` for a name that is no quantized linear. */
  readLinear(name: string): QuantizedLinear;
  /** Raw stored bytes of a location without the padding. */
  readBytes(location: TensorLocation): Uint8Array;
  /** A float tensor, or a whole table dequantized, as float32 by name. */
  readFloat32(name: string): Float32Array;
  /** Rows [begin, begin + count) of a table or a 2-D float tensor, flattened row-major, dequantized. */
  readRowsFloat32(name: string, begin: number, count: number): Float32Array;
  /**
   * One block for the float path: every weight, norm and bias by Hugging Face name, linears dequantized without their column scale, and
   * the column scales by stage. Throws DBellError `invalid-package` where linears of one stage disagree about the column scale.
   */
  dequantizedBlock(index: number): { weights: BlockWeights; columnScales: ColumnScales };
  /**
   * The package as a full-precision model whose weights are the dequantized ones, column scales multiplied in, so that the float engine runs it
   * with activations at 16 bits. Closing it does not close the package.
   */
  asModelSource(): ModelSource;
  close(): void;
}
