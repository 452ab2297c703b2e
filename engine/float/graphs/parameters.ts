import type { Architecture, Block, Norm, StageName } from '../../model/architecture.ts';

/** A weight that a block graph takes as an input: its name in the graph, its name in the checkpoint, its shape. */
export interface BlockParameter {
  /** Name of the graph's input, the same for every block: `q.weight`, `attentionNorm.bias`. */
  input: string;
  /** Hugging Face tensor name: the key in BlockWeights. */
  tensor: string;
  /** `[out, in]` for a linear's weight, `[size]` else. */
  shape: readonly number[];
}

/** All weights of a block, in the order in which the block uses them. */
export function blockParameters(architecture: Architecture, block: Block): BlockParameter[] {
  const parameters: BlockParameter[] = [];
  const addNorm = (input: string, norm: Norm | null, size: number): void => {
    if (norm?.weight) parameters.push({ input: `${input}.weight`, tensor: norm.weight, shape: [size] });
    if (norm?.bias) parameters.push({ input: `${input}.bias`, tensor: norm.bias, shape: [size] });
  };
  addNorm('attentionNorm', block.attentionNorm, architecture.hiddenSize);
  addNorm('queryNorm', block.queryNorm, architecture.headDimension);
  addNorm('keyNorm', block.keyNorm, architecture.headDimension);
  addNorm('mlpNorm', block.mlpNorm, architecture.hiddenSize);
  addNorm('attentionSubNorm', block.attentionSubNorm, stageInputSize(architecture, 'attention-out'));
  addNorm('mlpSubNorm', block.mlpSubNorm, stageInputSize(architecture, 'mlp-out'));
  for (const linear of block.stages.flatMap((stage) => stage.linears)) {
    parameters.push({
      input: `${linear.role}.weight`,
      tensor: `${linear.name}.weight`,
      shape: [linear.outFeatures, linear.inFeatures],
    });
    if (linear.bias)
      parameters.push({ input: `${linear.role}.bias`, tensor: linear.bias, shape: [linear.outFeatures] });
  }
  return parameters;
}

/** Width of each stage's input. */
export function stageInputSize(architecture: Architecture, stage: StageName): number {
  switch (stage) {
    case 'attention-in':
    case 'mlp-in':
      return architecture.hiddenSize;
    case 'attention-out':
      return architecture.headCount * architecture.headDimension;
    case 'mlp-out':
      return architecture.intermediateSize;
  }
}

/** Name of the graph input that multiplies a stage's columns. */
export function columnScaleInput(stage: StageName): string {
  return `columnScale.${stage}`;
}
