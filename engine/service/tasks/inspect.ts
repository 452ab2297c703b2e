import type { ModelDescription } from '../../contract/models.ts';
import { type Architecture, linearsOf } from '../../model/architecture.ts';
import { inspectModel } from '../../model/open.ts';
import type { TaskFunction } from './control.ts';

export const inspectTask: TaskFunction<'inspect'> = async ({ model }) => {
  const found = await inspectModel(model);
  const { architecture } = found;
  return {
    path: found.path,
    format: found.format,
    usable: architecture !== null && !found.problems.some(({ severity }) => severity === 'error'),
    family: architecture?.family ?? null,
    modelType: architecture?.modelType ?? null,
    parameters: found.parameterCount,
    quantizableParameters: architecture ? quantizableParameters(architecture) : null,
    fileBytes: found.fileBytes,
    storedTypes: found.storedTypes,
    architecture: architecture ? describe(architecture) : null,
    linears: architecture
      ? linearsOf(architecture.blocks[0]!).map(({ role, inFeatures, outFeatures }) => ({
          role,
          inFeatures,
          outFeatures,
        }))
      : [],
    hasChatTemplate: found.hasChatTemplate,
    license: found.license,
    problems: found.problems,
  };
};

/** Weights of all linears within the blocks. */
export function quantizableParameters(architecture: Architecture): number {
  return architecture.blocks
    .flatMap(linearsOf)
    .reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
}

function describe(architecture: Architecture): NonNullable<ModelDescription['architecture']> {
  const { position } = architecture;
  const norm = architecture.blocks[0]!.attentionNorm;
  return {
    blocks: architecture.blocks.length,
    hiddenSize: architecture.hiddenSize,
    intermediateSize: architecture.intermediateSize,
    heads: architecture.headCount,
    keyValueHeads: architecture.keyValueHeadCount,
    headDimension: architecture.headDimension,
    vocabularySize: architecture.vocabularySize,
    contextLength: architecture.contextLength,
    activation: architecture.activation,
    mlp: architecture.mlp,
    norm: `${norm.kind === 'rms' ? 'RMSNorm' : 'LayerNorm'}, ${architecture.normPlacement}`,
    position:
      position.kind === 'learned'
        ? 'learned'
        : `rotary, theta ${position.theta}${position.scaling.kind === 'none' ? '' : `, ${position.scaling.kind} scaling`}`,
    tiedHead: architecture.head.tied,
    slidingWindow: architecture.slidingWindow,
  };
}
