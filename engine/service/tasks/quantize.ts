import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { unwrittenWindows } from '../../calibration/self-text.ts';
import { jsonObjectSchema } from '../../contract/common.ts';
import { DBellError } from '../../contract/errors.ts';
import { notesInWords } from '../../contract/quantization.ts';
import { fileError } from '../../files/errors.ts';
import { lockFolder } from '../../files/folder-lock.ts';
import { makeFolders } from '../../files/folders.ts';
import { checkFloatDevice, createFloatEngine } from '../../float/engine.ts';
import { processMemory } from '../../measure/memory.ts';
import { openModel } from '../../model/open.ts';
import { createTokenizer } from '../../model/tokenizer-huggingface.ts';
import { createPackageSink } from '../../package/sink.ts';
import { quantize } from '../../quantize/pipeline.ts';
import { checkBeforeStart } from '../../quantize/preflight.ts';
import type { QuantizationProgress } from '../../quantize/progress.ts';
import { needsCalibration } from '../../quantize/resolve-recipe.ts';
import { createRunFile, type RunFile, updateRunFile, workFolderOf } from '../run-file.ts';
import { checkWorkFolder } from '../work-folder-check.ts';
import type { TaskInput } from '../work-protocol.ts';
import type { TaskControl, TaskFunction } from './control.ts';
import { describePackage } from './package-result.ts';
import { contextFor, recipeFor } from './quantization-settings.ts';
import { recipeBeforehand } from './recipe-beforehand.ts';
import { selfWindows } from './self-text.ts';
import { readWindows } from './text-windows.ts';
import { threadCount } from './threads.ts';

const task = 'quantize';

/** Longer than the native calls of common layers take. */
const orphanWaitMs = 5000;
const orphanPollMs = 100;

/**
 * Quantizes a model into a package, or takes up a run that ended before. Everything that can be checked is checked before the work folder is
 * made; from then on `run.json` says which run it is.
 */
export const quantizeTask: TaskFunction<'quantize'> = async (request, control) => {
  const { input } = request;
  const workFolder = workFolderOf(input.out);
  checkWorkFolder(input.out, workFolder);
  if (existsSync(input.out) && !existsSync(workFolder)) {
    throw new DBellError(
      'output-exists',
      `${input.out} exists already; choose another output or delete it first`,
    );
  }
  const warnings: string[] = [];
  const warn = (message: string) => {
    warnings.push(message);
    control.report({ type: 'message', level: 'warning', message });
  };
  const source = await openModel(input.model);
  try {
    for (const { message } of source.warnings) warn(message);
    const { architecture } = source;
    const recipe = recipeFor(architecture, input);
    const { gguf, notes } = recipeBeforehand(source, recipe, input.embeddingBits);
    for (const note of notesInWords(notes, gguf))
      control.report({ type: 'message', level: 'info', message: `note: ${note}` });
    if (!existsSync(workFolder)) await checkFloatDevice(input.floatDevice);
    const tokenizer = createTokenizer(source.tokenizer, {
      modelVocabularySize: architecture.vocabularySize,
    });
    const { calibration } = input;
    const self = needsCalibration(recipe) && 'self' in calibration ? calibration.self : null;
    let windows = !needsCalibration(recipe)
      ? null
      : 'self' in calibration
        ? // Not written yet: everything else is checked first, with as many tokens.
          unwrittenWindows(input.windows, contextFor(architecture, input.context))
        : await readWindows(
            task,
            calibration,
            { tokenizer, architecture },
            {
              context: contextFor(architecture, input.context),
              choice:
                input.seed === undefined
                  ? { kind: 'first', count: input.windows }
                  : { kind: 'seeded', count: input.windows, seed: input.seed },
            },
            control,
          );
    const threads = threadCount(input.threads);
    // Before anything is written; the pipeline checks again with what lies in the work folder.
    if (!existsSync(workFolder)) {
      checkBeforeStart({
        source,
        windows,
        recipe,
        embeddingBits: input.embeddingBits,
        outputDirectory: input.out,
        threads,
      });
      // A text that cannot be measured on is to be known now, not after hours.
      for (const measured of [input.followUp?.perplexity, input.followUp?.quality]) {
        if (measured === undefined) continue;
        const heldOut = await readWindows(
          task,
          measured.text,
          { tokenizer, architecture },
          {
            context: contextFor(architecture, measured.context),
            choice: { kind: 'first', count: measured.windows ?? 1 },
          },
          control,
        );
        if (windows !== null && heldOut.source.textSha256 === windows.source.textSha256)
          warn(
            `${heldOut.source.name} is both calibrated and measured on: what is measured will look better than on any other text`,
          );
      }
    }
    const run = beginRun(workFolder, request);
    if (run.attempts > 0) await waitForLock(workFolder, input.out);
    if (self !== null && windows !== null) {
      const { context, windowCount } = windows;
      const sampling = { ...self, seed: input.seed ?? 0 };
      windows = await selfWindows(
        source,
        tokenizer,
        { ...sampling, context, windows: windowCount, threads },
        workFolder,
        control,
      );
    }
    const engine = await createFloatEngine(source, { threads, device: input.floatDevice });
    try {
      const attempts = run.attempts + 1;
      let accepted = false;
      const accept = () => {
        accepted = true;
        // The folder is locked by now, so that nobody else writes its run file.
        updateRunFile(workFolder, { ...run, attempts });
        control.report({
          type: 'accepted',
          runId: run.runId,
          createdAt: run.createdAt,
          modelPath: source.path,
          recipe: jsonObjectSchema.parse(recipe),
        });
      };
      try {
        const { elapsedMs } = await quantize({
          source,
          windows,
          recipe,
          embeddingBits: input.embeddingBits,
          engine,
          sink: createPackageSink({ workDirectory: workFolder, outputDirectory: input.out }),
          workDirectory: workFolder,
          outputDirectory: input.out,
          seed: input.seed ?? 0,
          threads,
          collectHistograms: true,
          onProgress: (progress) => {
            if (!accepted) accept();
            reportProgress(progress, control);
          },
          onWarning: warn,
          control,
        });
        return {
          ...(await describePackage(input.out)),
          runId: run.runId,
          sourceBytes: source.fileBytes,
          peakRssBytes: Math.max(run.peakRssBytes, processMemory().peakRssBytes),
          durationMs: elapsedMs,
          resumedTimes: attempts - 1,
          warnings,
        };
      } catch (error) {
        if (accepted && existsSync(workFolder)) {
          const peakRssBytes = Math.max(run.peakRssBytes, processMemory().peakRssBytes);
          updateRunFile(workFolder, { ...run, attempts, peakRssBytes });
        }
        throw error;
      }
    } finally {
      await engine.close();
    }
  } finally {
    source.close();
  }
};

/** Makes the work folder where there is none and finds or writes the run file. */
function beginRun(workFolder: string, { input, runId, createdAt }: TaskInput<'quantize'>): RunFile {
  try {
    makeFolders(workFolder);
  } catch (cause) {
    throw fileError(cause, 'create the folder', workFolder);
  }
  return createRunFile(workFolder, { version: 1, runId, createdAt, input, attempts: 0, peakRssBytes: 0 });
}

/**
 * A run whose service was killed is resumed at once, while its work process may still be in a long native call after which it will end itself: it
 * gets a moment to let go.
 */
async function waitForLock(workFolder: string, out: string): Promise<void> {
  const deadline = performance.now() + orphanWaitMs;
  for (;;) {
    try {
      (await lockFolder(workFolder)).release();
      return;
    } catch (error) {
      if (!existsSync(workFolder)) {
        throw new DBellError('output-exists', `${out} was completed by another process just now`);
      }
      if (performance.now() > deadline) throw error;
      await sleep(orphanPollMs);
    }
  }
}

function reportProgress(progress: QuantizationProgress, control: TaskControl): void {
  const { step, blockIndex, blockCount, layer, relativeError, notes, ltdb, histograms, channelMaxima } =
    progress;
  control.progress({
    task,
    stage: step,
    fraction: progress.fraction,
    step: { index: blockIndex, count: blockCount, unit: 'block' },
    item: layer ?? progress.stage,
    relativeError,
    elapsedMs: progress.elapsedMs,
    remainingMs: progress.etaMs,
    ...(progress.etaRangeMs === null ? {} : { remainingRangeMs: progress.etaRangeMs }),
  });
  if (layer !== null && relativeError !== null) {
    control.report({
      type: 'layer',
      blockIndex,
      layer: { name: layer, relativeError, notes, ltdb, histograms, channelMaxima },
    });
  }
}
