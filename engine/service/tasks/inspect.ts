import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ModelDescription } from '../../contract/models.ts';
import { type Architecture, linearsOf } from '../../model/architecture.ts';
import { inspectModel } from '../../model/open.ts';
import { withScales } from '../../package/measured-scales.ts';
import { inspectPackage } from '../../package/open.ts';
import { storedTables } from '../../package/stored-tables.ts';
import { partialSuffix, runFileName } from '../run-file.ts';
import type { TaskFunction } from './control.ts';
import { isPackage } from './package-detection.ts';

export const inspectTask: TaskFunction<'inspect'> = async ({ model }) =>
  isPackage(model) ? describePacked(model) : describeModel(model);

async function describeModel(model: string): Promise<ModelDescription> {
  const found = await inspectModel(model);
  const { architecture } = found;
  return {
    ...structure(architecture),
    path: found.path,
    format: found.format,
    usable: architecture !== null && !found.problems.some(({ severity }) => severity === 'error'),
    parameters: found.parameterCount,
    fileBytes: found.fileBytes,
    storedTypes: found.storedTypes,
    lowBit: found.lowBit,
    hasChatTemplate: found.hasChatTemplate,
    license: found.license,
    problems: isUnfinished(model) ? [unfinishedProblem, ...found.problems] : found.problems,
    package: null,
  };
}

const unfinishedProblem = {
  severity: 'error',
  code: 'unfinished',
  message:
    'this is the work folder of an unfinished quantization, not a model; "dbell resume" goes on with it',
} as const;

function isUnfinished(folder: string): boolean {
  return folder.endsWith(partialSuffix) && existsSync(path.join(folder, runFileName));
}

/** A package, its values included: it is small, and a damaged one should say so here. */
function describePacked(model: string): ModelDescription {
  const { opened, problems } = inspectPackage(model);
  try {
    const quality = opened?.quality;
    return {
      ...structure(opened?.architecture ?? null),
      path: opened?.path ?? model,
      format: 'package',
      usable: opened !== null && problems.errorCount === 0,
      parameters: quality?.total.parameters ?? null,
      fileBytes: opened?.modelBytes ?? null,
      storedTypes: {},
      lowBit: null,
      hasChatTemplate: opened?.chatTemplate != null,
      license: quality?.license ?? null,
      problems: problems.items,
      package:
        opened && quality
          ? {
              recipe: opened.quantization.recipe.name,
              bytes: opened.packageBytes,
              activationBits: opened.activationBits,
              activationScales: opened.activationScales,
              embeddingBits: opened.quantization.embedding_bits,
              tables: storedTables(opened),
              storedBitsPerWeight: opened.storedBitsPerWeight,
              nominalBitsPerWeight: quality.linears.nominalBitsPerWeight,
              perplexities: quality.perplexities.map((entry) => withScales(entry, opened)),
              comparisons: (quality.comparisons ?? []).map(({ originalFingerprint, ...figures }) => ({
                ...withScales(figures, opened),
                isAgainstSource: originalFingerprint === quality.sourceFingerprint,
              })),
            }
          : null,
    };
  } finally {
    opened?.close();
  }
}

function structure(architecture: Architecture | null) {
  return {
    family: architecture?.family ?? null,
    modelType: architecture?.modelType ?? null,
    quantizableParameters: architecture ? quantizableParameters(architecture) : null,
    architecture: architecture ? describe(architecture) : null,
    linears: architecture
      ? linearsOf(architecture.blocks[0]!).map(({ role, inFeatures, outFeatures }) => ({
          role,
          inFeatures,
          outFeatures,
        }))
      : [],
  };
}

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
