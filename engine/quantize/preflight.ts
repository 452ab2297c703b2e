import { freemem, totalmem } from 'node:os';
import path from 'node:path';
import type { TokenWindows } from '../calibration/windows.ts';
import type { EmbeddingBits } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { formatBytes } from '../contract/number-format.ts';
import { fileError } from '../files/errors.ts';
import { freeBytes, nearestExistingFolder } from '../files/free-space.ts';
import type { ModelSource } from '../model/source.ts';
import { checkKept } from './as-is.ts';
import { type EstimateInputs, estimateQuantization, type QuantizationEstimate } from './estimate.ts';
import { diskReserveBytes } from './limits.ts';
import { checkOutput } from './output-check.ts';
import type { Recipe } from './recipe.ts';
import { needsCalibration } from './resolve-recipe.ts';

export interface PreflightInputs {
  source: ModelSource;
  /** Null only for recipes that need no calibration. */
  windows: TokenWindows | null;
  recipe: Recipe;
  embeddingBits: EmbeddingBits;
  /** Where the package will appear. */
  outputDirectory: string;
  threads: number;
  /** A resumed job's own files count as free, and a finished package may stand there already. */
  resuming?: { bytesOnDisk: number; packageMayExist: boolean };
}

/**
 * Checks everything that can be known before work starts, from headers and settings alone.
 *
 * @returns the estimate, and warnings for the person
 * @throws DBellError naming what is wrong, the value, the limit and what to do
 */
export function checkBeforeStart(inputs: PreflightInputs): {
  estimate: QuantizationEstimate;
  warnings: string[];
} {
  const { source, windows, recipe } = inputs;
  const problem = source.warnings.find((warning) => warning.severity === 'error');
  if (problem) throw new DBellError('invalid-model', `${source.path}: ${problem.message}`);
  if (windows) checkWindows(windows, source);
  else if (needsCalibration(recipe)) {
    throw new DBellError(
      'invalid-input',
      `recipe ${recipe.name} needs calibration text; give one with --calibration`,
    );
  }
  checkOutput(source.path, inputs.outputDirectory, inputs.resuming?.packageMayExist);
  const kept = recipe.binarizer.kind === 'as-is' ? checkKept(source) : null;
  const estimateInputs: EstimateInputs = {
    architecture: source.architecture,
    recipe,
    embeddingBits: inputs.embeddingBits,
    windowCount: windows?.windowCount ?? 0,
    context: windows?.context ?? 0,
    threads: inputs.threads,
    ...(kept === null ? {} : { keptLevels: kept.levels }),
  };
  const estimate = estimateQuantization(estimateInputs);
  checkDisk(inputs, estimate);
  return { estimate, warnings: [...checkMemory(estimate), ...fewTokens(inputs)] };
}

function checkWindows(windows: TokenWindows, source: ModelSource): void {
  const { contextLength, slidingWindow, vocabularySize } = source.architecture;
  const { windowCount, context, ids } = windows;
  const refuse = (message: string): never => {
    throw new DBellError('invalid-input', `calibration: ${message}`);
  };
  if (windowCount < 1 || context < 1) refuse(`${windowCount} windows of ${context} tokens hold no text`);
  if (ids.length !== windowCount * context) {
    refuse(
      `${ids.length} ids do not make ${windowCount} windows of ${context} tokens (${windowCount * context})`,
    );
  }
  if (context > contextLength) {
    refuse(
      `windows of ${context} tokens exceed the model's context length of ${contextLength}; use --context ${contextLength} or less`,
    );
  }
  if (slidingWindow !== null && context > slidingWindow) {
    refuse(
      `windows of ${context} tokens exceed the model's sliding attention window of ${slidingWindow}, up to which results are exact; use --context ${slidingWindow} or less`,
    );
  }
  const position = ids.findIndex((id) => id < 0 || id >= vocabularySize);
  if (position >= 0) {
    refuse(
      `token ${position} has id ${ids[position]}, outside the vocabulary of ${vocabularySize}; the text was tokenized for another model`,
    );
  }
}

function checkDisk(
  { outputDirectory, resuming }: PreflightInputs,
  { diskBytes }: QuantizationEstimate,
): void {
  const folder = nearestExistingFolder(path.dirname(path.resolve(outputDirectory)));
  let free: number;
  try {
    free = freeBytes(folder);
  } catch (cause) {
    throw fileError(cause, 'find its free space', folder);
  }
  const needed = diskBytes.total + diskReserveBytes - (resuming?.bytesOnDisk ?? 0);
  if (needed > free) {
    throw new DBellError(
      'disk-full',
      `${folder} has ${formatBytes(free)} free, the job needs ${megabytes(needed)} (hidden states ${megabytes(diskBytes.hiddenStates)}, ` +
        `states between stages ${megabytes(diskBytes.stageStates)}, package ${megabytes(diskBytes.package)}); make room, use fewer windows, or choose another volume`,
    );
  }
}

function checkMemory({ memoryBytes }: QuantizationEstimate): string[] {
  // In a container the limit is what it may use, not what the machine has; 0 means none.
  const limit = process.constrainedMemory();
  const total = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  const needed = `about ${megabytes(memoryBytes.total)} of memory are needed (one block's weights ${megabytes(memoryBytes.blockWeights)}, Hessians ${megabytes(memoryBytes.hessians)}, activations ${megabytes(memoryBytes.onnxruntime + memoryBytes.window)})`;
  if (memoryBytes.total > total) {
    throw new DBellError(
      'out-of-memory',
      `${needed}, this machine has ${megabytes(total)}; use a shorter --context or a smaller model`,
    );
  }
  const free = Math.min(
    process.availableMemory(),
    limit > 0 ? total : Math.max(freemem(), process.availableMemory()),
  );
  return memoryBytes.total > free
    ? [`${needed}, ${megabytes(free)} are free now; close other programs if it becomes slow`]
    : [];
}

function fewTokens({ source, windows, recipe }: PreflightInputs): string[] {
  if (!windows || !needsCalibration(recipe)) return [];
  const tokens = windows.windowCount * windows.context;
  const widest = Math.max(
    ...source.architecture.blocks.flatMap((block) =>
      block.stages.flatMap((stage) => stage.linears.map((linear) => linear.inFeatures)),
    ),
  );
  return tokens < widest
    ? [
        `${tokens} calibration tokens are fewer than the widest layer's ${widest} inputs: Hessians will be singular and damped; use more windows`,
      ]
    : [];
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6).toLocaleString('en-US')} MB`;
}
