import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { EmbeddingBits } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';
import { renameDurably, syncFolder, writeFileAtomically } from '../files/atomic.ts';
import { fileError } from '../files/errors.ts';
import { makeFolders } from '../files/folders.ts';
import { canonicalJson } from '../files/json.ts';
import { families } from '../model/families/index.ts';
import type { ModelSource } from '../model/source.ts';
import { packing } from '../native/packing.ts';
import type { Recipe } from '../quantize/recipe.ts';
import type { PackageSummary } from '../quantize/sink.ts';
import type { TableMetric } from '../quantize/table-metric.ts';
import { type BlockFile, blockFileName, checkBlockData, openBlockFile } from './block-file.ts';
import { type ExpectedEntry, expectedEntries, modelFileName, plannedTensors } from './layout.ts';
import { copyChunkBytes } from './limits.ts';
import { modelCard } from './model-card.ts';
import { openPackage } from './open.ts';
import { bytesOf } from './pack-linear.ts';
import { summariseQuality, type TableReport } from './quality.ts';
import { planSafetensors, type SafetensorsPlan } from './safetensors-header.ts';
import { formatVersion, type QuantizationConfig, type TensorEntry } from './schema.ts';
import { encodeHalfRows, encodeTable, noTableErrors, type TableErrors } from './tables.ts';
import { type WrittenFile, writeListedFile, writeModelFile } from './written-files.ts';

export interface FinishOptions {
  source: ModelSource;
  recipe: Recipe;
  embeddingBits: EmbeddingBits;
  calibration: Record<string, unknown>;
  /** What an error of the head's table costs (6 and 4 bits); null or absent: tables are rounded. */
  tableMetric?: TableMetric | null;
  workDirectory: string;
  outputDirectory: string;
  blocksFolder: string;
}

/** One entry of the package and where its bytes come from. */
interface PlannedEntry {
  expected: ExpectedEntry;
  entry: TensorEntry;
  /** The block file that holds it, else the source is read. */
  block: BlockFile | null;
}

/**
 * Puts the package together in OUT.partial/package and lets OUT appear by rename. Nothing is kept from an earlier attempt, so a run that was killed here
 * gives the same bytes the next time. An OUT that stands already is accepted if it is this very package (the run was killed between the
 * rename and the removal of OUT.partial). Throws DBellError `invalid-checkpoint`, `output-exists`, `disk-full`, `disk-error`, `unsupported-model`.
 */
export async function finishPackage(options: FinishOptions): Promise<PackageSummary> {
  const { outputDirectory, workDirectory } = options;
  if (existsSync(outputDirectory)) return acceptExisting(options);
  const folder = path.join(workDirectory, 'package');
  removeFolder(folder);
  const blocks: BlockFile[] = [];
  try {
    makeFolder(folder);
    for (const { index } of options.source.architecture.blocks) {
      const name = blockFileName(index);
      const block = openBlockFile(path.join(options.blocksFolder, name), name);
      blocks.push(block);
      checkBlockData(block);
      await breathe();
    }
    await assemble(options, blocks, folder);
    syncFolder(folder);
    // The reader is the judge of what was written; what it refuses must never appear as OUT.
    const check = await openPackage(folder, { checkValues: false });
    const { storedBitsPerWeight, packageBytes } = check;
    check.close();
    renameDurably(folder, outputDirectory);
    return { path: outputDirectory, storedBitsPerWeight, bytes: packageBytes };
  } catch (error) {
    removeFolder(folder);
    throw error;
  } finally {
    for (const block of blocks) block.source.close();
  }
}

async function acceptExisting(options: FinishOptions): Promise<PackageSummary> {
  const { outputDirectory, source, calibration, recipe, embeddingBits } = options;
  const existing = await openPackage(outputDirectory).catch(() => null);
  try {
    const same =
      existing !== null &&
      existing.quality.sourceFingerprint === (await source.fingerprint()) &&
      canonicalJson(existing.quality.calibration) === canonicalJson(calibration) &&
      canonicalJson(existing.quantization.recipe) === canonicalJson(recipe) &&
      existing.quantization.embedding_bits === embeddingBits;
    if (!same) {
      throw new DBellError(
        'output-exists',
        `output ${outputDirectory} exists already and is not the package of this run; move it away or choose another output`,
      );
    }
    const { storedBitsPerWeight, packageBytes } = existing;
    return { path: outputDirectory, storedBitsPerWeight, bytes: packageBytes };
  } finally {
    existing?.close();
  }
}

async function assemble(options: FinishOptions, blocks: BlockFile[], folder: string): Promise<void> {
  const { source, recipe, embeddingBits, calibration } = options;
  const entries = planEntries(options, blocks);
  const planned = entries.flatMap(({ expected, entry }) => plannedTensors(expected.name, entry));
  const plan = planSafetensors(planned, { format: 'pt' });
  const files: QuantizationConfig['files'] = {};
  const modelPath = path.join(folder, modelFileName);
  const tableReports: TableReport[] = [];
  files[modelFileName] = await writeModel(modelPath, plan, entries, options, tableReports);

  const addFile = (name: string, content: Uint8Array | string) => {
    files[name] = writeListedFile(folder, name, content);
  };
  for (const [name, bytes] of [...source.tokenizerFiles].sort(([a], [b]) => (a < b ? -1 : 1)))
    addFile(name, bytes);
  if (source.generationConfig !== null)
    addFile('generation_config.json', canonicalJson(source.generationConfig));

  const gridLevels = new Set(entries.flatMap(({ entry }) => (entry.layout === 'grid' ? [entry.levels] : [])));
  const quantization: QuantizationConfig = {
    quant_method: 'dbell',
    format_version: formatVersion,
    recipe,
    levels: gridLevels.size === 1 ? ([...gridLevels][0] ?? null) : null,
    activation_bits: recipe.activationBits,
    ...(recipe.activationScales === 'block' && { activation_scales: recipe.activationScales }),
    embedding_bits: embeddingBits,
    tied_head: source.architecture.head.tied,
    block_size: 128,
    tensors: Object.fromEntries(entries.map(({ expected, entry }) => [expected.name, entry])),
    files,
  };
  const config = canonicalJson({
    ...source.config,
    tie_word_embeddings: source.architecture.head.tied,
    quantization_config: quantization,
  });
  writeFileAtomically(path.join(folder, 'config.json'), config);

  const quality = summariseQuality({
    configSha256: createHash('sha256').update(config).digest('hex'),
    sourceFingerprint: await source.fingerprint(),
    license: source.license,
    calibration,
    reports: blocks.flatMap((block) => block.reports),
    tableReports,
    tensors: quantization.tensors,
    nominalBitsPerWeight: recipe.nominalBitsPerWeight,
    parameters: source.parameterCount,
    modelBytes: files[modelFileName].bytes,
  });
  writeFileAtomically(path.join(folder, 'quality.json'), canonicalJson(quality));
  writeFileAtomically(
    path.join(folder, 'README.md'),
    modelCard({ quantization, quality, architecture: source.architecture }),
  );
}

function planEntries(options: FinishOptions, blocks: BlockFile[]): PlannedEntry[] {
  const { source, embeddingBits } = options;
  const { architecture } = source;
  const family = families.find((candidate) => candidate.name === architecture.family);
  if (family === undefined) throw new DBellError('internal', `family ${architecture.family} is unknown`);
  const stored = new Map<string, { block: BlockFile; entry: TensorEntry }>();
  for (const block of blocks) for (const [name, entry] of block.entries) stored.set(name, { block, entry });
  const entries = expectedEntries(architecture, family).map((expected): PlannedEntry => {
    const fromBlock = stored.get(expected.name);
    stored.delete(expected.name);
    if (fromBlock !== undefined) {
      checkStored(expected, fromBlock.entry, fromBlock.block);
      return { expected, ...fromBlock };
    }
    if (expected.kind === 'linear')
      throw new DBellError(
        'invalid-checkpoint',
        `${blockFileName(expected.blockIndex)} lacks ${expected.name}; delete the .partial folder and start again`,
      );
    const entry: TensorEntry =
      expected.kind === 'table'
        ? { layout: 'table', shape: expected.shape, bits: embeddingBits }
        : { layout: 'float', shape: expected.shape, dtype: expected.dtype };
    return { expected, entry, block: null };
  });
  const extra = stored.entries().next().value;
  if (extra !== undefined)
    throw new DBellError(
      'invalid-checkpoint',
      `${extra[1].block.source.name} holds ${extra[0]}, which this model has no place for; delete the .partial folder and start again`,
    );
  return entries;
}

function checkStored(expected: ExpectedEntry, entry: TensorEntry, block: BlockFile): void {
  const shape =
    expected.kind === 'linear'
      ? [expected.linear.outFeatures, expected.linear.inFeatures]
      : [...expected.shape];
  const isLinear = entry.layout === 'grid' || entry.layout === 'structured';
  const fits =
    entry.shape.join() === shape.join() &&
    (expected.kind === 'linear'
      ? isLinear && entry.bias === (expected.linear.bias !== null)
      : expected.kind === 'float' && entry.layout === 'float' && entry.dtype === expected.dtype);
  if (!fits)
    throw new DBellError(
      'invalid-checkpoint',
      `${block.source.name}: ${expected.name} is ${entry.layout} [${entry.shape.join(', ')}], which does not fit this model; delete the .partial folder and start again`,
    );
}

/** Streams all tensors into the file; at no time more than a piece of one is held. */
function writeModel(
  filePath: string,
  plan: SafetensorsPlan,
  entries: PlannedEntry[],
  options: FinishOptions,
  tableReports: TableReport[],
): Promise<WrittenFile> {
  return writeModelFile(filePath, plan, async ({ write, padTo, checkEnd }) => {
    for (const { expected, entry, block } of entries) {
      const tensors = plannedTensors(expected.name, entry);
      if (block !== null) for (const { name } of tensors) copyTensor(block, name, write);
      else {
        let part = 0;
        const errors = noTableErrors();
        const metric = metricFor(expected.name, entry, options);
        for (const piece of piecesFromSource(expected, entry, options.source, metric, errors)) {
          if (piece.part !== part) {
            padTo(tensors[part]!.name);
            part = piece.part;
          }
          write(piece.bytes);
          await breathe();
        }
        padTo(tensors[part]!.name);
        if (entry.layout === 'table') tableReports.push(reportOf(expected.name, entry.bits, metric, errors));
      }
      checkEnd(tensors.at(-1)!.name);
      await breathe();
    }
  });
}

function copyTensor(block: BlockFile, name: string, write: (bytes: Uint8Array) => void): void {
  const tensor = block.tensors.get(name);
  if (tensor === undefined)
    throw new DBellError(
      'invalid-checkpoint',
      `${block.source.name} lacks ${name}; delete the .partial folder and start again`,
    );
  const chunk = new Uint8Array(Math.min(copyChunkBytes, tensor.bytes));
  for (let done = 0; done < tensor.bytes; done += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, tensor.bytes - done));
    block.source.readInto(tensor.position + done, part);
    write(part);
  }
}

/** The metric for a table of 6 or 4 bits: the head's, whose table may be the embedding too. */
function metricFor(name: string, entry: TensorEntry, options: FinishOptions): TableMetric | null {
  const isHead = entry.layout === 'table' && name === options.source.architecture.head.weight;
  return isHead && entry.bits < 8 ? (options.tableMetric ?? null) : null;
}

function reportOf(
  name: string,
  bits: EmbeddingBits,
  metric: TableMetric | null,
  errors: TableErrors,
): TableReport {
  const { metricError, metricNorm, squaredError, squaredNorm, saturatedValues } = errors;
  const share = (error: number, norm: number): number => (norm > 0 ? error / norm : 0);
  const notes: string[] = [];
  if (saturatedValues > 0)
    notes.push(`${saturatedValues} scales did not fit fp16 and were cut to its largest value`);
  if (metric !== null && metric.factor === null)
    notes.push('the metric could not be factorized; the fit started from rounding');
  return {
    name,
    method: metric === null ? 'rounded' : 'compensated',
    relativeError: metric === null ? null : share(metricError, metricNorm),
    weightRelativeError: bits < 8 ? share(squaredError, squaredNorm) : null,
    notes,
  };
}

/** Bytes of an entry's tensors (numbered from 0) without padding. */
function* piecesFromSource(
  expected: ExpectedEntry,
  entry: TensorEntry,
  source: ModelSource,
  metric: TableMetric | null,
  errors: TableErrors,
): Generator<{ part: number; bytes: Uint8Array }> {
  const { name } = expected;
  const [rows = 0, columns = 0] = entry.shape;
  if (entry.layout === 'table') {
    yield* encodeTable({ source, name, rows, columns, bits: entry.bits, metric }, errors);
  } else if (entry.layout === 'float' && entry.dtype === 'F16') {
    for (const bytes of encodeHalfRows(source, name, rows, columns)) yield { part: 0, bytes };
  } else {
    const values = source.readFloat32(name);
    const bad = packing.firstNonFinite(values);
    if (bad !== -1) throw new DBellError('unsupported-model', `${name}: value ${bad} is ${values[bad]}`);
    yield { part: 0, bytes: bytesOf(values) };
  }
}

function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (cause) {
    throw fileError(cause, 'create the folder', folder);
  }
}

function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (cause) {
    throw fileError(cause, 'remove', folder);
  }
}

/** Lets messages (stop, progress) through between pieces of blocking work. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
