import type { FloatDevice, Problem } from '../../contract/common.ts';
import { toErrorPayload } from '../../contract/error-payload.ts';
import { formatBytes } from '../../contract/number-format.ts';
import { freeBytes } from '../../files/free-space.ts';
import { checkFloatDevice, createFloatEngine } from '../../float/engine.ts';
import { whyTooLong } from '../../model/context-length.ts';
import { openModel } from '../../model/open.ts';
import type { ModelSource } from '../../model/source.ts';
import { checkKept } from '../../quantize/as-is.ts';
import { estimateQuantization, measureSpeed } from '../../quantize/estimate.ts';
import { needsCalibration } from '../../quantize/resolve-recipe.ts';
import type { TaskResult } from '../work-protocol.ts';
import type { TaskFunction } from './control.ts';
import { contextFor, recipeFor } from './quantization-settings.ts';
import { recipeBeforehand } from './recipe-beforehand.ts';
import { threadCount } from './threads.ts';

export const estimateTask: TaskFunction<'estimate'> = async (input) => {
  const source = await openModel(input.model);
  try {
    const { architecture } = source;
    const recipe = recipeFor(architecture, input);
    const calibrated = needsCalibration(recipe);
    const windows = calibrated ? input.windows : 0;
    const context = contextFor(architecture, input.context);
    const threads = threadCount(input.threads);
    const problems: Problem[] = [...source.warnings];
    const tooLong = calibrated ? whyTooLong(context, architecture.contextLength) : null;
    if (tooLong !== null) problems.push({ severity: 'error', code: 'invalid-input', message: tooLong });
    await checkFloatDevice(input.floatDevice).catch((error: unknown) => {
      problems.push({ severity: 'error', code: 'gpu-unavailable', message: toErrorPayload(error).message });
    });
    const speed =
      input.measureSpeed && tooLong === null
        ? await timeOneBlock(source, context, threads, input.floatDevice, problems)
        : undefined;
    const kept = recipe.binarizer.kind === 'as-is' ? checkKept(source) : null;
    const estimate = estimateQuantization({
      architecture,
      recipe,
      embeddingBits: input.embeddingBits,
      windowCount: windows,
      context: calibrated ? context : 0,
      threads,
      operationsPerSecond: speed,
      ...(kept === null ? {} : { keptLevels: kept.levels }),
    });
    const availableMemoryBytes = process.availableMemory();
    const availableDiskBytes = freeDiskBytes(input.out ?? process.cwd());
    const short = (what: 'memory' | 'disk', needed: number, available: number | null, remedy: string) => {
      if (available !== null && needed > available) {
        problems.push({
          severity: 'error',
          code: `not-enough-${what}`,
          message: `about ${formatBytes(needed)} of ${what} are needed at the worst moment, ${formatBytes(available)} are free; ${remedy}`,
        });
      }
    };
    short(
      'memory',
      estimate.memoryBytes.total,
      availableMemoryBytes,
      'end other programs, or choose shorter windows',
    );
    short(
      'disk',
      estimate.diskBytes.total,
      availableDiskBytes,
      'make room, or choose fewer windows or an output on another disk',
    );
    if (estimate.packageBytes.total > source.fileBytes)
      problems.push({
        severity: 'warning',
        code: 'larger-than-original',
        message: `the weight file will be larger than the model’s own: ${formatBytes(estimate.packageBytes.total)}, not ${formatBytes(source.fileBytes)}; choose a recipe of fewer bits, or fewer bits for the embedding`,
      });
    return {
      recipe: recipe.name,
      windows,
      context: calibrated ? context : 0,
      ...total('package', estimate.packageBytes),
      storedBitsPerWeight: estimate.storedBitsPerWeight,
      ...total('peakMemory', estimate.memoryBytes),
      ...total('disk', estimate.diskBytes),
      timeMs: estimate.timeMs,
      availableMemoryBytes,
      availableDiskBytes,
      problems,
      ...recipeBeforehand(source, recipe, input.embeddingBits),
      operationsPerSecond: speed ?? null,
    } as TaskResult<'estimate'>;
  } finally {
    source.close();
  }
};

/** Operations a second, or undefined where this model cannot be timed here; then that is a warning. */
async function timeOneBlock(
  source: ModelSource,
  context: number,
  threads: number,
  device: FloatDevice,
  problems: Problem[],
): Promise<number | undefined> {
  try {
    const engine = await createFloatEngine(source, { threads, device });
    try {
      return await measureSpeed(engine, source.architecture, context);
    } finally {
      await engine.close();
    }
  } catch (error) {
    const { message } = toErrorPayload(error);
    problems.push({
      severity: 'warning',
      code: 'not-timed',
      message: `one block could not be timed: ${message}`,
    });
    return undefined;
  }
}

/** `{total, a, b}` as the contract's sum and items. */
function total(name: 'package' | 'peakMemory' | 'disk', terms: { total: number } & Record<string, number>) {
  const { total: bytes, ...parts } = terms;
  const items = Object.entries(parts).map(([part, value]) => ({ name: part, bytes: value }));
  const itemsName = name === 'peakMemory' ? 'memoryItems' : `${name}Items`;
  return { [`${name}Bytes`]: bytes, [itemsName]: items };
}

function freeDiskBytes(target: string): number | null {
  try {
    return freeBytes(target);
  } catch {
    return null;
  }
}
