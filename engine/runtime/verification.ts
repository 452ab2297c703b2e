import { type KernelName, native, type PackedModelHandle, runtime } from '../native/runtime.ts';
import type { PackageSource } from '../package/types.ts';
import type { ActivationBits } from './device.ts';
import { describeForNative } from './model-description.ts';

/**
 * Single steps of the CPU runtime on a mapped package: the same code as inference, for `verify` and for tests. `kernels` names an instruction
 * set of `availableKernels()`; left out, the one that inference would take. Throws DBellError.
 */
export class RuntimeVerification {
  readonly #handle: PackedModelHandle;

  constructor(source: PackageSource) {
    this.#handle = native(() => runtime.packedOpen(describeForNative(source))).handle;
  }

  /** y `[tokens, out]` of a linear for x `[tokens, in]`, column scale and bias included. */
  linearForward(
    name: string,
    x: Float32Array,
    activationBits: ActivationBits,
    kernels?: KernelName,
  ): Float32Array {
    return native(() => runtime.packedLinearForward(this.#handle, name, x, activationBits, kernels ?? null));
  }

  /** x̂ `[tokens, in]` and s `[tokens]` of a linear's input at 8, 6 or 4 bits. */
  quantizeActivations(
    name: string,
    x: Float32Array,
    activationBits: ActivationBits,
    kernels?: KernelName,
  ): { values: Int8Array; scales: Float32Array } {
    return native(() =>
      runtime.packedQuantizeActivations(this.#handle, name, x, activationBits, kernels ?? null),
    );
  }

  /**
   * The exact integers for given x̂ `[tokens, in]`. Grid: 2·Σ_p 2^p·M_p − (levels − 1)·X, `[tokens, out, blocks, 1]`; structured: sums of plane A,
   * plane B, A∧B over the ordinary columns, then the salient ones, `[tokens, out, blocks, 6]`.
   */
  maskedSums(name: string, values: Int8Array, kernels?: KernelName): Int32Array {
    return native(() => runtime.packedMaskedSums(this.#handle, name, values, kernels ?? null));
  }

  /**
   * The exact integers of a grid linear's residual columns for given x̂ `[tokens, in]`: 2·M − X over the gathered columns, `[tokens, out, ceil(count / 128)]`.
   * Throws DBellError `invalid-input` where it has none.
   */
  residualSums(name: string, values: Int8Array, kernels?: KernelName): Int32Array {
    return native(() => runtime.packedResidualSums(this.#handle, name, values, kernels ?? null));
  }

  /** Output `[tokens, hiddenSize]` of one block for hidden states at positions 0 …. */
  blockForward(block: number, hidden: Float32Array, activationBits: ActivationBits): Float32Array {
    return native(() => runtime.packedBlockForward(this.#handle, block, hidden, activationBits));
  }

  /**
   * The same, with what entered the block's stages (in the order of `Block.stages`) before column scale and quantization, `[tokens, in]` each.
   */
  blockStages(
    block: number,
    hidden: Float32Array,
    activationBits: ActivationBits,
  ): { hidden: Float32Array; stageInputs: Float32Array[] } {
    return native(() => runtime.packedBlockStages(this.#handle, block, hidden, activationBits));
  }

  /** Hidden states `[tokens, hiddenSize]` before block 0 and after every block. */
  hiddenStates(ids: Int32Array, activationBits: ActivationBits): Float32Array[] {
    return native(() => runtime.packedHiddenStates(this.#handle, ids, activationBits));
  }

  close(): void {
    native(() => runtime.packedClose(this.#handle));
  }
}

/** Instruction sets that this machine can run, slowest first. */
export function availableKernels(): KernelName[] {
  return runtime.packedKernelNames();
}
