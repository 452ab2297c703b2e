import type { KeyValueCache } from '../contract/common.ts';
import { DBellError, type ErrorCode, errorCodes } from '../contract/errors.ts';
import { loadAddon } from './index.ts';

/** A mapped model, or a sequence, in the addon. */
export type PackedModelHandle = { readonly packedModelHandle: unique symbol };
export type PackedSessionHandle = { readonly packedSessionHandle: unique symbol };

/** Where a tensor's values stand in the mapped file; checked again by the addon. */
export interface NativeRange {
  name: string;
  offset: number;
  valueBytes: number;
}

export interface NativeLinear {
  name: string;
  layout: 'grid' | 'structured';
  outFeatures: number;
  inFeatures: number;
  planeCount: number;
  /** Grid: how `codes` are stored. */
  codeLayout?: 'planes' | 'base-3';
  codes: NativeRange;
  columnScale: NativeRange | null;
  bias: NativeRange | null;
  /** Grid: number of levels. Structured: fp16 `[rowGroups, blocks, 7, 16]`. */
  levels: number | NativeRange;
  /** Grid. */
  scales?: NativeRange;
  offsets?: NativeRange | null;
  rowScale?: NativeRange | null;
  /** Grid: I32 `[count]`, U8 `[rowGroups, ceil(count / 32), 1, 64]`, fp16 `[rowGroups, ceil(count / 128), 16]`. */
  residual?: { count: number; columns: NativeRange; planes: NativeRange; scales: NativeRange } | null;
  /** Structured. */
  salientMask?: NativeRange;
}

export interface NativeNorm {
  kind: 'rms' | 'layer';
  epsilon: number;
  weight: NativeRange | null;
  bias: NativeRange | null;
}

/** A table `[rows, columns]`; I8, Q6 and Q4 have fp16 scales for groups of 32 columns. */
export interface NativeTable {
  type: 'F32' | 'F16' | 'I8' | 'Q6' | 'Q4';
  rows: number;
  columns: number;
  values: NativeRange;
  scales: NativeRange | null;
}

/** A table that is stored as a grid linear with codes and scales alone. */
export interface NativeGridTable {
  type: 'grid';
  grid: NativeLinear;
}

export interface NativeBlock {
  attentionNorm: NativeNorm;
  mlpNorm: NativeNorm;
  attentionSubNorm: NativeNorm | null;
  mlpSubNorm: NativeNorm | null;
  queryNorm: NativeNorm | null;
  keyNorm: NativeNorm | null;
  q: NativeLinear;
  k: NativeLinear;
  v: NativeLinear;
  o: NativeLinear;
  gate: NativeLinear | null;
  up: NativeLinear;
  down: NativeLinear;
}

/** All that the addon needs to know to run a package (src/runtime/description.h). */
export interface NativeModelDescription<VocabularyTable = NativeTable> {
  path: string;
  hiddenSize: number;
  intermediateSize: number;
  headCount: number;
  keyValueHeadCount: number;
  headDimension: number;
  vocabularySize: number;
  contextLength: number;
  embeddingSize: number;
  /** 0: none. */
  slidingWindow: number;
  /** What shares a step of rounded activations in the blocks' linears. */
  activationScales: 'token' | 'block';
  normPlacement: 'pre' | 'post';
  activation: string;
  /** Rotary embedding, `[rotaryDimensions / 2]`, or null where positions are learned. */
  inverseFrequencies: Float32Array | null;
  positions: NativeTable | null;
  positionOffset: number;
  embedding: VocabularyTable;
  head: VocabularyTable;
  headBias: NativeRange | null;
  projectIn: NativeTable | null;
  projectOut: NativeTable | null;
  finalNorm: NativeNorm | null;
  blocks: NativeBlock[];
}

/** Instruction sets that kernels are compiled for: of x86-64, of 64-bit ARM; `generic` is plain C++ and runs everywhere. */
export type KernelName =
  | 'generic'
  | 'sse41'
  | 'avx2'
  | 'avx512'
  | 'avxvnni'
  | 'avx512vnni'
  | 'neon'
  | 'neon-dot';

/**
 * The packed runtime of the addon. Calls block their thread. They throw Errors with a `code` of contract/errors.ts; `native` below turns them
 * into DBellErrors.
 */
export interface NativeRuntime {
  /** Maps and checks the file; the kernels are the fastest of this machine or what DBELL_FORCE_ISA names. */
  packedOpen(description: NativeModelDescription<NativeTable | NativeGridTable>): {
    handle: PackedModelHandle;
    kernels: KernelName;
    mappedBytes: number;
    copiedBytes: number;
    /** Largest number of ids of one packedFeed or packedLosses. */
    tokensPerChunk: number;
  };
  /** Frees the model; the mapping goes when its last session is closed. */
  packedClose(model: PackedModelHandle): void;
  packedCreateSession(
    model: PackedModelHandle,
    contextLength: number,
    activationBits: number,
    keyValueCache: KeyValueCache,
  ): PackedSessionHandle;
  packedCloseSession(session: PackedSessionHandle): void;
  packedResetSession(session: PackedSessionHandle): void;
  packedSessionState(session: PackedSessionHandle): {
    position: number;
    cacheBytes: number;
    scratchBytes: number;
  };
  /** Appends a chunk; fills `logits` `[vocabularySize]` after its last token unless null. */
  packedFeed(session: PackedSessionHandle, ids: Int32Array, logits: Float32Array | null): void;
  /** Appends a chunk; natural-log losses of targets[i] after ids[0 … i]. */
  packedLosses(session: PackedSessionHandle, ids: Int32Array, targets: Int32Array): Float32Array;
  /**
   * Logits after `count` tokens of the chunk that was fed last, from its row `firstRow` on, into `logits` `[count, vocabularySize]`. `chunkRows` is that
   * chunk's length. Throws `invalid-package` where one is not finite.
   */
  packedChunkLogits(
    session: PackedSessionHandle,
    chunkRows: number,
    firstRow: number,
    logits: Float32Array,
  ): void;
  /**
   * Position by position how the predictions of two models differ, from their finite logits `[rows, vocabularySize]`; `targets` are the tokens that really follow,
   * `[rows]`. Returns `[rows, 5]`: original loss, candidate loss, KL(original ‖ candidate) in nats, original's and candidate's top token (the lowest of equals).
   */
  compareLogits(original: Float32Array, candidate: Float32Array, targets: Int32Array): Float64Array;

  /** Instruction sets that this machine can run, slowest first. */
  packedKernelNames(): KernelName[];
  /** y `[tokens, out]` of one linear for x `[tokens, in]`, column scale and bias included; kernels null: the chosen ones. */
  packedLinearForward(
    model: PackedModelHandle,
    name: string,
    x: Float32Array,
    activationBits: number,
    kernels: KernelName | null,
  ): Float32Array;
  /** x̂ `[tokens, in]` and s `[tokens]` of a linear's input. */
  packedQuantizeActivations(
    model: PackedModelHandle,
    name: string,
    x: Float32Array,
    activationBits: number,
    kernels: KernelName | null,
  ): { values: Int8Array; scales: Float32Array };
  /**
   * The integer part for given x̂ `[tokens, in]`. Grid: 2·Σ_p 2^p·M_p − (levels − 1)·X, `[tokens, out, blocks, 1]`; structured: sums of plane A, plane B, A∧B
   * over the ordinary columns, then over the salient ones, `[tokens, out, blocks, 6]`.
   */
  packedMaskedSums(
    model: PackedModelHandle,
    name: string,
    values: Int8Array,
    kernels: KernelName | null,
  ): Int32Array;
  /** The integer part of a grid linear's residual columns, `[tokens, out, ceil(count / 128)]`: 2·M − X over the gathered columns. */
  packedResidualSums(
    model: PackedModelHandle,
    name: string,
    values: Int8Array,
    kernels: KernelName | null,
  ): Int32Array;
  /** Output `[tokens, hiddenSize]` of one block for hidden states at positions 0 …. */
  packedBlockForward(
    model: PackedModelHandle,
    block: number,
    hidden: Float32Array,
    activationBits: number,
  ): Float32Array;
  /** The same, with what entered the four stages before column scale and quantization, `[tokens, in]` each. */
  packedBlockStages(
    model: PackedModelHandle,
    block: number,
    hidden: Float32Array,
    activationBits: number,
  ): { hidden: Float32Array; stageInputs: Float32Array[] };
  /** Hidden states `[tokens, hiddenSize]` before block 0 and after every block. */
  packedHiddenStates(model: PackedModelHandle, ids: Int32Array, activationBits: number): Float32Array[];
}

export const runtime = loadAddon() as NativeRuntime;

/** Runs a call into the addon; its errors become DBellErrors. */
export function native<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const code = (cause as { code?: unknown }).code;
    if (cause instanceof Error && typeof code === 'string' && code in errorCodes)
      throw new DBellError(code as ErrorCode, cause.message, { cause });
    throw cause;
  }
}
