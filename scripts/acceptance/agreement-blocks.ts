/** One block on the packed runtime and on the float path, which takes the runtime's rounded activations. */
import type { ActivationBits, BlockRunner, BlockWeights, ColumnScales } from '../../engine/float/types.ts';
import type { Block, Stage } from '../../engine/model/architecture.ts';
import type { RuntimeVerification } from '../../engine/runtime/verification.ts';
import { dequantizeTokens, scaleColumns } from './agreement-plain.ts';

export interface BlockWithSameCodes {
  runtime: RuntimeVerification;
  runner: BlockRunner;
  block: Block;
  weights: BlockWeights;
  columnScales: ColumnScales;
  /** What enters the block on either side, `[context, hiddenSize]`. */
  packedHidden: Float32Array;
  floatHidden: Float32Array;
  activationBits: ActivationBits;
}

/**
 * Goes through the block stage by stage on the float path, but enters each stage with the x̂ that the runtime had there, so that a code on the border between two
 * integers, which may fall either way, doesn't hide or excuse anything: what is compared is computed from equal x̂ on both sides.
 *
 * @param onStage is given each stage's input on both sides behind the column scale, `[context, in]`, and the runtime's codes, null where nothing is rounded
 * @returns the block's output on both sides, `[context, hiddenSize]`
 */
export async function runBlockWithSameCodes(
  {
    runtime,
    runner,
    block,
    weights,
    columnScales,
    packedHidden,
    floatHidden,
    activationBits,
  }: BlockWithSameCodes,
  onStage?: (
    stage: Stage,
    packedInput: Float32Array,
    floatInput: Float32Array,
    values: Int8Array | null,
  ) => void,
): Promise<{ packed: Float32Array; float: Float32Array }> {
  const { index } = block;
  const packed = runtime.blockStages(index, packedHidden, activationBits);
  const state: Parameters<BlockRunner['enterStage']>[3] = { hidden: floatHidden };
  const unrounded = { activationBits: 16 as const, columnScales };
  for (const [number, stage] of block.stages.entries()) {
    await runner.enterStage(index, stage.name, weights, state, unrounded);
    const floatInput = state.stageInput!;
    const x = packed.stageInputs[number]!;
    const codes =
      activationBits === 16 ? null : runtime.quantizeActivations(stage.linears[0]!.name, x, activationBits);
    onStage?.(stage, scaleColumns(x, columnScales[stage.name] ?? null), floatInput, codes?.values ?? null);
    if (codes) state.stageInput = dequantizeTokens(codes, stage.linears[0]!.inFeatures);
  }
  return { packed: packed.hidden, float: await runner.leaveBlock(index, weights, state, unrounded) };
}
