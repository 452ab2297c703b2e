import path from 'node:path';
import type { ComparedMeasurement, ComparedSubject } from '../../contract/compare.ts';
import { nothingButPerplexity } from '../../measure/compare-subjects.ts';
import { openModel } from '../../model/open.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import { bytesByPart } from '../../package/byte-breakdown.ts';
import { withScales } from '../../package/measured-scales.ts';
import { openPackage } from '../../package/open.ts';
import type { PackageSource } from '../../package/types.ts';
import { toJson } from '../runs.ts';
import type { TaskFunction } from './control.ts';
import { isPackage } from './package-detection.ts';
import { calibrationOf } from './package-result.ts';
import { contextFor, separatorFor } from './quantization-settings.ts';
import { readWindows } from './text-windows.ts';

const task = 'compare';

/** What a package or model says of itself, and which windows a text would give it. */
export const describeSubjectTask: TaskFunction<'describeSubject'> = async (
  { path: location, wanted },
  control,
) => {
  const source = isPackage(location)
    ? await openPackage(location, { checkValues: false })
    : await openModel(location);
  try {
    const { architecture } = source;
    const subject =
      'quantization' in source
        ? describePacked(source)
        : {
            ...unpacked,
            path: source.path,
            name: path.basename(source.path),
            parameters: source.parameterCount,
            modelBytes: source.fileBytes,
            bytes: null,
            sourceFingerprint: await source.fingerprint(),
          };
    if (wanted === null) return { subject, windows: null };
    const tokenizer = createTokenizer(source.tokenizer, { modelVocabularySize: architecture.vocabularySize });
    const windows = await readWindows(
      task,
      wanted.text,
      { tokenizer, architecture },
      {
        context: contextFor(architecture, wanted.context),
        choice: { kind: 'first', count: wanted.windows ?? 'all' },
        separatorId: separatorFor(wanted.documentSeparator),
      },
      control,
    );
    const { textSha256 } = windows.source;
    return { subject, windows: { textSha256, context: windows.context, windows: windows.windowCount } };
  } finally {
    source.close();
  }
};

/** What a model in full precision has nothing of. */
const unpacked = {
  isPackage: false,
  recipe: null,
  recipeSettings: null,
  activationBits: 16,
  activationScales: null,
  embeddingBits: null,
  storedBitsPerWeight: null,
  bytesByPart: [],
  calibration: null,
  meanRelativeError: null,
  layers: [],
  measurements: [],
} satisfies Partial<ComparedSubject>;

function describePacked(source: PackageSource): ComparedSubject {
  const { quality, quantization } = source;
  const calibration = calibrationOf(quality.calibration);
  return {
    path: source.path,
    name: path.basename(source.path),
    isPackage: true,
    recipe: quantization.recipe.name,
    recipeSettings: toJson(quantization.recipe),
    activationBits: source.activationBits,
    activationScales: source.activationScales,
    embeddingBits: quantization.embedding_bits,
    storedBitsPerWeight: source.storedBitsPerWeight,
    parameters: quality.total.parameters,
    modelBytes: source.modelBytes,
    bytes: source.packageBytes,
    bytesByPart: bytesByPart(source),
    calibration: calibration && {
      name: calibration.name,
      windows: calibration.windows,
      context: calibration.context,
    },
    sourceFingerprint: quality.sourceFingerprint,
    meanRelativeError:
      quality.layers.reduce((sum, { relativeError }) => sum + relativeError, 0) /
      Math.max(1, quality.layers.length),
    layers: quality.layers.map(({ name, relativeError, weightRelativeError, storedBitsPerWeight }) => ({
      ...{ name, relativeError, weightRelativeError, storedBitsPerWeight },
    })),
    measurements: measurementsOf(source),
  };
}

function measurementsOf(source: PackageSource): ComparedMeasurement[] {
  const { perplexities, comparisons = [] } = source.quality;
  return [
    ...comparisons.map(({ klDivergenceNats, ...entry }) => ({
      ...withScales(entry, source),
      klDivergenceNats: klDivergenceNats.mean,
    })),
    ...perplexities.map((entry) => ({ ...withScales(entry, source), ...nothingButPerplexity })),
  ];
}
