import { existsSync, lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { TokenWindows } from '../calibration/windows.ts';
import type { EmbeddingBits, FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { lockFolder } from '../files/folder-lock.ts';
import type { FloatEngine } from '../float/types.ts';
import type { ModelSource } from '../model/source.ts';
import { threads as nativeThreads } from '../native/index.ts';
import { keepBlock } from './as-is.ts';
import { type BlockJob, quantizeBlock } from './block.ts';
import {
  CheckpointFolder,
  type CheckpointState,
  makeFolder,
  type QuantizationFingerprint,
  type StreamName,
  statePathOf,
} from './checkpoint.ts';
import { blockOperations, headOperations, tableFitOperations } from './cost-model.ts';
import { engineIdentity } from './engine-identity.ts';
import { measureHead } from './head-stage.ts';
import { WindowFile } from './hidden-states.ts';
import { checkBeforeStart } from './preflight.ts';
import type { QuantizationControl, QuantizationProgress } from './progress.ts';
import { ProgressReporter, plainEvent } from './progress-reporter.ts';
import type { Recipe } from './recipe.ts';
import { compensatesTables, needsCalibration, usesFloatStream, usesHessians } from './resolve-recipe.ts';
import type { PackageSummary, QuantizationSink } from './sink.ts';
import type { TableMetric } from './table-metric.ts';
import { restoreRetiredWork, retireWork, workDirectorySuffix } from './work-folder.ts';

export interface QuantizeOptions {
  source: ModelSource;
  /** Calibration; null only for recipes that need none. */
  windows: TokenWindows | null;
  /** Resolved (resolve-recipe.ts). */
  recipe: Recipe;
  embeddingBits: EmbeddingBits;
  engine: FloatEngine;
  sink: QuantizationSink;
  /** `OUT.partial`: checkpoint, lock and the sink's unfinished files; gone when the package stands. */
  workDirectory: string;
  /** Where the package appears; by default `workDirectory` without `.partial`. */
  outputDirectory?: string;
  seed: number;
  /** Of the native numerics; results do not depend on it. */
  threads: number;
  /** Adds weight histograms to progress events. */
  collectHistograms?: boolean;
  onProgress?: (progress: QuantizationProgress) => void;
  /** Things a person should know that do not stop the job. */
  onWarning?: (message: string) => void;
  control?: QuantizationControl;
}

export interface QuantizeResult {
  summary: PackageSummary;
  /** Blocks that earlier, interrupted runs had done. */
  resumedBlocks: number;
  /** Time of all runs of this job, pauses left out. */
  elapsedMs: number;
}

/**
 * Quantizes a model block by block into a package. A run that was killed at any moment is resumed by calling this again with the same inputs: the result is
 * byte-identical. See method.md for what happens to a block (block.ts) and checkpoint.ts for what is kept.
 *
 * @throws DBellError `invalid-input`, `output-exists`, `disk-full`, `out-of-memory` before work starts; `invalid-checkpoint` where the work folder belongs
 *   to another job; `stopped` where `control` asked for it; `disk-full` and `disk-error` on the way (resumable)
 */
export async function quantize(options: QuantizeOptions): Promise<QuantizeResult> {
  const outputDirectory = path.resolve(options.outputDirectory ?? defaultOutput(options.workDirectory));
  const workDirectory = path.resolve(options.workDirectory);
  // What is not looked at must not decide whether a run can be resumed, nor stand in the package.
  const windows = needsCalibration(options.recipe) ? options.windows : null;
  restoreRetiredWork(workDirectory);
  const stateExists = existsSync(statePathOf(workDirectory));
  const { warnings } = checkBeforeStart({
    ...options,
    windows,
    outputDirectory,
    resuming: stateExists ? { bytesOnDisk: folderBytes(workDirectory), packageMayExist: true } : undefined,
  });
  for (const warning of warnings) options.onWarning?.(warning);
  makeFolder(workDirectory);
  const lock = await lockFolder(workDirectory);
  try {
    return await runLocked({ ...options, windows }, workDirectory, outputDirectory);
  } finally {
    lock.release();
  }
}

async function runLocked(
  options: QuantizeOptions,
  workDirectory: string,
  outputDirectory: string,
): Promise<QuantizeResult> {
  const { source, recipe, windows, engine, sink } = options;
  const { architecture } = source;
  const blockCount = architecture.blocks.length;
  nativeThreads.setThreadCount(options.threads);
  const fingerprint: QuantizationFingerprint = {
    model: await source.fingerprint(),
    calibration: windows?.fingerprint ?? null,
    recipe,
    embeddingBits: options.embeddingBits,
    seed: options.seed,
    engine: engineIdentity(engine.device),
  };
  const folder = new CheckpointFolder(workDirectory);
  const streams = new Streams(folder, options);
  let state = folder.load(fingerprint);
  folder.removeLeftovers();
  if (state) checkStoredBlocks(state, sink, workDirectory);
  if (existsSync(outputDirectory) && state?.blocksDone !== blockCount) {
    throw new DBellError(
      'output-exists',
      `output ${outputDirectory} exists already, and ${workDirectory} holds an unfinished job for it; remove one of them`,
    );
  }

  const operations = architecture.blocks.map((block) =>
    blockOperations(architecture, block, recipe, windows?.windowCount ?? 0, windows?.context ?? 0),
  );
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
  const resumedBlocks = state?.blocksDone ?? 0;
  const reporter = new ProgressReporter({
    blockCount,
    totalOperations:
      sum(operations) +
      headOperations(
        architecture,
        recipe,
        options.embeddingBits,
        windows?.windowCount ?? 0,
        windows?.context ?? 0,
      ),
    doneOperations: sum(operations.slice(0, resumedBlocks)),
    control: options.control,
    onProgress: options.onProgress,
  });
  const earlierMs = state?.elapsedMs ?? 0;
  reporter.enterBlock(resumedBlocks);
  // Who took it up sees that what was done is kept before the first work of the block is done.
  if (resumedBlocks > 0) await reporter.advance(0, plainEvent('prepare', 0, 0));

  if (!state) {
    const hashes = await streams.embed(reporter);
    state = folder.save({
      fingerprint,
      blocksDone: 0,
      generation: 0,
      ...hashes,
      elapsedMs: reporter.elapsedMs,
    });
  }
  if (state.blocksDone < blockCount) {
    const usesText = usesFloatStream(recipe) || usesHessians(recipe);
    const job: BlockJob = {
      architecture,
      engine,
      runner: usesText && windows ? await engine.blockRunner(windows.context) : null,
      recipe,
      windowCount: windows?.windowCount ?? 0,
      context: windows?.context ?? 0,
      scratchFolder: folder.path,
      reporter,
      collectHistograms: options.collectHistograms ?? false,
    };
    for (const block of architecture.blocks.slice(state.blocksDone)) {
      reporter.enterBlock(block.index);
      const next: 0 | 1 = state.generation === 0 ? 1 : 0;
      const inputs = streams.open(state);
      const outputs = block.index + 1 < blockCount ? streams.create(next) : streams.createLast(next);
      let hashes: StreamHashes;
      try {
        const quantized =
          recipe.binarizer.kind === 'as-is'
            ? await keepBlock({ source, recipe, reporter }, block)
            : await quantizeBlock(job, block, inputs, outputs);
        await reporter.advance(0, plainEvent('write', job.windowCount, job.windowCount));
        hashes = sealAll(outputs);
        sink.writeBlock(quantized);
      } finally {
        closeAll(inputs);
        closeAll(outputs);
      }
      // Only now does the block count: its packed tensors and the next block's inputs are on disk.
      state = folder.save({
        fingerprint,
        blocksDone: block.index + 1,
        generation: next,
        ...hashes,
        elapsedMs: earlierMs + reporter.elapsedMs,
      });
    }
  }

  reporter.enterBlock(blockCount);
  await reporter.advance(0, plainEvent('finish', windows?.windowCount ?? 0, windows?.windowCount ?? 0));
  let tableMetric: TableMetric | null = null;
  const headInputs = existsSync(outputDirectory) ? null : streams.openLast(state);
  if (headInputs) {
    try {
      tableMetric = await measureHead(engine, architecture, headInputs, reporter);
    } finally {
      headInputs.close();
    }
    await reporter.advance(
      tableFitOperations(architecture),
      plainEvent('finish', headInputs.windowCount, headInputs.windowCount),
    );
  }
  const summary = await sink.finish({
    source,
    recipe,
    embeddingBits: options.embeddingBits,
    calibration: calibrationRecord(windows, engine.device),
    tableMetric,
  });
  retireWork(workDirectory);
  return { summary, resumedBlocks, elapsedMs: earlierMs + reporter.elapsedMs };
}

type StreamHashes = Pick<CheckpointState, 'floatStream' | 'quantizedStream'>;
type StreamFiles = Record<StreamName, WindowFile | null>;

/** The two streams of hidden states in the checkpoint folder. */
class Streams {
  private readonly folder: CheckpointFolder;
  private readonly options: QuantizeOptions;
  private readonly names: StreamName[];

  constructor(folder: CheckpointFolder, options: QuantizeOptions) {
    this.folder = folder;
    this.options = options;
    this.names = [
      ...(usesFloatStream(options.recipe) ? (['float'] as const) : []),
      ...(usesHessians(options.recipe) ? (['quantized'] as const) : []),
    ];
  }

  create(generation: 0 | 1): StreamFiles {
    const [windowCount, values] = this.sizes();
    const file = (name: StreamName): WindowFile | null =>
      this.names.includes(name)
        ? WindowFile.create(this.folder.streamPath(name, generation), windowCount, values)
        : null;
    return { float: file('float'), quantized: file('quantized') };
  }

  open(state: CheckpointState): StreamFiles {
    const [windowCount, values] = this.sizes();
    const file = (name: StreamName): WindowFile | null => {
      if (!this.names.includes(name)) return null;
      const stored = name === 'float' ? state.floatStream : state.quantizedStream;
      const filePath = this.folder.streamPath(name, state.generation);
      return WindowFile.open(filePath, windowCount, values, stored?.sha256 ?? '');
    };
    return { float: file('float'), quantized: file('quantized') };
  }

  /** Outputs of the last block: what enters the head, where its table is fitted to that. */
  createLast(generation: 0 | 1): StreamFiles {
    const { recipe, embeddingBits } = this.options;
    if (!compensatesTables(recipe, embeddingBits)) return { float: null, quantized: null };
    const quantized = WindowFile.create(this.folder.streamPath('quantized', generation), ...this.sizes());
    return { float: null, quantized };
  }

  /** The same to read, or null where nobody needs it. */
  openLast(state: CheckpointState): WindowFile | null {
    const { recipe, embeddingBits } = this.options;
    if (!compensatesTables(recipe, embeddingBits)) return null;
    const filePath = this.folder.streamPath('quantized', state.generation);
    return WindowFile.open(filePath, ...this.sizes(), state.quantizedStream?.sha256 ?? '');
  }

  /** Embeddings of all windows: both streams' inputs of block 0. */
  async embed(reporter: ProgressReporter): Promise<StreamHashes> {
    const { windows, engine } = this.options;
    const files = this.create(0);
    try {
      if (windows && this.names.length > 0) {
        for (let window = 0; window < windows.windowCount; window += 1) {
          const begin = window * windows.context;
          const hidden = engine.embed(windows.ids.subarray(begin, begin + windows.context));
          for (const file of [files.float, files.quantized]) file?.write(window, hidden);
          await reporter.advance(0, plainEvent('prepare', window + 1, windows.windowCount));
        }
      }
      return sealAll(files);
    } finally {
      closeAll(files);
    }
  }

  private sizes(): [windowCount: number, valuesPerWindow: number] {
    const { windows, source } = this.options;
    return [windows?.windowCount ?? 0, (windows?.context ?? 0) * source.architecture.hiddenSize];
  }
}

function sealAll(files: StreamFiles): StreamHashes {
  const seal = (file: WindowFile | null): { sha256: string } | null =>
    file ? { sha256: file.seal() } : null;
  return { floatStream: seal(files.float), quantizedStream: seal(files.quantized) };
}

function closeAll(files: StreamFiles): void {
  files.float?.close();
  files.quantized?.close();
}

function checkStoredBlocks(state: CheckpointState, sink: QuantizationSink, workDirectory: string): void {
  const stored = new Set(sink.storedBlocks());
  for (let block = 0; block < state.blocksDone; block += 1) {
    if (!stored.has(block)) {
      throw new DBellError(
        'invalid-checkpoint',
        `the checkpoint in ${workDirectory} says that ${state.blocksDone} blocks are done, but block ${block} is not stored there; delete that folder and start again`,
      );
    }
  }
}

/** Where the calibration came from, for the package: no path, no time. */
function calibrationRecord(windows: TokenWindows | null, device: FloatDevice): Record<string, unknown> {
  if (!windows) return { windowCount: 0 };
  const { windowCount, context, source, selection, fingerprint } = windows;
  const computed = device === 'cpu' ? {} : { computedBy: `onnxruntime, ${device}` };
  return {
    windowCount,
    context,
    source: { ...source },
    selection: { ...selection },
    fingerprint,
    ...computed,
  };
}

function defaultOutput(workDirectory: string): string {
  if (!workDirectory.endsWith(workDirectorySuffix)) {
    throw new DBellError(
      'invalid-input',
      `work folder ${workDirectory} must end in ${workDirectorySuffix}, or the output be given`,
    );
  }
  return workDirectory.slice(0, -workDirectorySuffix.length);
}

/** Bytes of all files below a folder; links are not followed. */
function folderBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + lstatSync(path.join(entry.parentPath, entry.name)).size, 0);
}
