import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import type { ExportWeights } from '../contract/export.ts';
import { AtomicFile, removeAbandoned } from '../files/atomic.ts';
import { checkCreatable } from '../files/writable.ts';
import { type Block, linearsOf } from '../model/architecture.ts';
import { ggufName } from '../model/gguf/names.ts';
import { deinterleave } from '../model/weight-location.ts';
import { packing } from '../native/packing.ts';
import {
  alignedBytes,
  exportBytes,
  exportedNorms,
  exportTypes,
  type GgufExportType,
  type GgufTensorPlan,
  ggufHeader,
  tableExportType,
} from './export-gguf-file.ts';
import { type HalfValues, halfLinear, halfValues } from './export-gguf-half.ts';
import {
  checkWidth,
  type ExportRounding,
  encodeLinear,
  type LinearMapping,
  mapLinear,
} from './export-gguf-linear.ts';
import { modelMetadata, ropeFactors } from './export-gguf-metadata.ts';
import { tokenizerMetadata } from './export-gguf-tokenizer.ts';
import { rowsPerGroup } from './layout.ts';
import { bytesOf, halfsOf } from './pack-linear.ts';
import type { PackageSource, PackedTable } from './types.ts';

/** Rows of a table that are converted at a time. */
const rowsPerPiece = 1024;

export interface GgufExportOptions {
  /** Default: `closest`. */
  rounding?: ExportRounding;
  /** Default: `blocks`. */
  weights?: ExportWeights;
  /** `general.name`; default: the package folder's name. */
  name?: string;
  onProgress?: (fraction: number) => void;
  /** Asked between tensors; the file is given up where it answers true. */
  stopRequested?: () => boolean;
  /** Awaited between pieces: holds the work while it is to pause. */
  border?: () => Promise<void>;
}

export interface GgufExportResult {
  path: string;
  bytes: number;
  /** Tensors by type. */
  types: Partial<Record<GgufExportType, { tensors: number; bytes: number }>>;
  /** What is not exactly the package's, in words. */
  notes: string[];
}

interface PlannedTensor extends GgufTensorPlan {
  /** Bytes of the tensor, in pieces. */
  pieces: () => Iterable<Uint8Array>;
}

/**
 * Writes a package as a GGUF file for llama.cpp. Everything that could be refused is looked at before the file is begun; it appears by rename when it is
 * complete.
 *
 * @throws DBellError `unsupported-model` with what does not map and why, `output-exists`, `disk-full`, `disk-error`, `stopped`
 */
export async function exportGguf(
  source: PackageSource,
  file: string,
  options: GgufExportOptions = {},
): Promise<GgufExportResult> {
  const target = path.resolve(file);
  checkTarget(source, target);
  if (options.weights === 'f16' && options.rounding === 'compact')
    throw new DBellError(
      'invalid-input',
      'rounding compact chooses among types with blocks, and weights f16 has none; leave one of them out',
    );
  const name = options.name ?? path.basename(source.path);
  const { architecture, metadata, notes } = modelMetadata(source, name);
  for (const [key, value] of tokenizerMetadata(source)) metadata.set(key, value);
  const tensors =
    options.weights === 'f16'
      ? await planHalfTensors(source, architecture, notes, options)
      : await planTensors(source, architecture, notes, options);
  const header = ggufHeader(metadata, tensors);
  removeAbandoned(target);
  const output = new AtomicFile(target);
  try {
    output.write(header);
    const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    let done = 0;
    for (const tensor of tensors) {
      checkStopped(options);
      const begin = output.position;
      for (const piece of tensor.pieces()) output.write(piece);
      const written = output.position - begin;
      if (written !== tensor.bytes)
        throw new DBellError('internal', `${tensor.name} has ${written} bytes instead of ${tensor.bytes}`);
      output.write(new Uint8Array(alignedBytes(written) - written));
      done += written;
      // Planning reads every linear once, too.
      options.onProgress?.(0.5 + (0.5 * done) / total);
      await (options.border?.() ?? breathe());
    }
    const bytes = output.position;
    output.commit();
    return { path: target, bytes, types: countTypes(tensors), notes };
  } catch (error) {
    output.abort();
    throw error;
  }
}

function checkTarget(source: PackageSource, target: string): void {
  if (existsSync(target))
    throw new DBellError(
      'output-exists',
      `output ${target} exists already; choose another name or delete it`,
    );
  const folder = path.dirname(target);
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new DBellError(
      'not-found',
      `${folder}: there is no such folder to write ${path.basename(target)} into`,
    );
  if (folder === source.path || folder.startsWith(source.path + path.sep))
    throw new DBellError(
      'invalid-input',
      `output ${target} lies inside of the package, whose files are all accounted for; choose another folder`,
    );
  checkCreatable(target);
}

/** All tensors in the order of the file; the plans of tables and linears are the caller's. */
async function planAll(
  source: PackageSource,
  architecture: string,
  options: GgufExportOptions,
  planOf: {
    table: (table: PackedTable, name: string) => PlannedTensor;
    linear: (name: string, sourceRow: (row: number) => number) => PlannedTensor;
  },
): Promise<PlannedTensor[]> {
  const { blocks, finalNorm, head, position } = source.architecture;
  const planned: PlannedTensor[] = [planOf.table(source.embedding, 'token_embd.weight')];
  const float = (name: string | null | undefined) => {
    if (typeof name === 'string') planned.push(planFloat(source, name));
  };
  float(finalNorm?.weight);
  if (!head.tied) planned.push(planOf.table(source.head, 'output.weight'));
  const factors = ropeFactors(position);
  if (factors !== null) planned.push(planFloats('rope_freqs.weight', [factors.length], () => factors));
  for (const block of blocks) {
    for (const norm of exportedNorms(block)) float(norm.weight);
    for (const { name, role } of linearsOf(block)) {
      checkStopped(options);
      const sourceRow = rowOrder(source, architecture, role);
      planned.push(planOf.linear(name, sourceRow), ...planBias(source, name, sourceRow));
      await (options.border?.() ?? breathe());
    }
    options.onProgress?.((0.5 * (block.index + 1)) / blocks.length);
  }
  return planned;
}

async function planTensors(
  source: PackageSource,
  architecture: string,
  notes: string[],
  options: GgufExportOptions,
): Promise<PlannedTensor[]> {
  for (const table of [source.embedding, source.head])
    if (table.bits === 'grid') orDequantized(() => refuseGridTable(table));
  // Before anything that another recipe would mend.
  for (const linear of source.architecture.blocks.flatMap(linearsOf)) orDequantized(() => checkWidth(linear));
  let largestShift = 0;
  const planned = await planAll(source, architecture, options, {
    table: (table, name) => planTable(table, source, name),
    linear: (name, sourceRow) => {
      const mapping = orDequantized(() => mapLinear(source.readLinear(name), options.rounding ?? 'closest'));
      largestShift = Math.max(largestShift, mapping.largestShift);
      return planLinear(source, name, mapping, sourceRow);
    },
  });
  if (largestShift > 0)
    notes.push(
      `Q4_1 stores the smallest value of a block in fp16: weights are shifted by up to ${largestShift.toPrecision(2)} of a grid step`,
    );
  return planned;
}

/** What no type of GGUF holds can be exported all the same, which its refusal says. */
function orDequantized<T>(map: () => T): T {
  try {
    return map();
  } catch (error) {
    if (!(error instanceof DBellError) || error.code !== 'unsupported-model') throw error;
    throw new DBellError(
      error.code,
      `${error.message}; dequantized to 16 bits a weight it can be exported (--weights f16)`,
    );
  }
}

/** Everything in 16 bits: what any program computes with, exactly where fp16 holds it. */
async function planHalfTensors(
  source: PackageSource,
  architecture: string,
  notes: string[],
  options: GgufExportOptions,
): Promise<PlannedTensor[]> {
  let largestRounding = 0;
  const rounded = (half: HalfValues): HalfValues => {
    largestRounding = Math.max(largestRounding, half.largestRounding);
    return half;
  };
  const plan = (name: string, shape: number[], pieces: () => Iterable<Uint8Array>): PlannedTensor => {
    return { name, shape, type: 'F16', bytes: exportBytes('F16', shape), pieces };
  };
  const planned = await planAll(source, architecture, options, {
    table: ({ name, rows, columns }, ggufTable) => {
      function* pieces() {
        for (let begin = 0; begin < rows; begin += rowsPerPiece) {
          const values = source.readRowsFloat32(name, begin, Math.min(rowsPerPiece, rows - begin));
          yield rounded(halfValues(name, values)).bytes;
        }
      }
      for (const _ of pieces()) checkStopped(options);
      return plan(ggufTable, [rows, columns], pieces);
    },
    linear: (name, sourceRow) => {
      const { outFeatures, inFeatures } = source.linears.get(name)!;
      const read = () => rounded(halfLinear(source.readLinear(name), sourceRow)).bytes;
      read();
      return plan(nameOf(`${name}.weight`), [outFeatures, inFeatures], () => [read()]);
    },
  });
  if (largestRounding > 0 && options.rounding === 'exact')
    throw new DBellError(
      'unsupported-model',
      `the package cannot be exported in 16 bits exactly: weights would be rounded to fp16, by up to ${largestRounding.toPrecision(2)} of their size`,
    );
  notes.push(
    'linears and tables stand dequantized in 16 bits a weight: what the package computes with activations that are not rounded, not its size',
    ...(largestRounding > 0
      ? [`weights were rounded to fp16, by up to ${largestRounding.toPrecision(2)} of their size`]
      : []),
  );
  return planned;
}

/** Which of our rows stands in a row of the file: llama.cpp's LLaMA has the two elements of each rotary pair side by side. */
function rowOrder(
  source: PackageSource,
  architecture: string,
  role: Block['stages'][number]['linears'][number]['role'],
): (row: number) => number {
  if (architecture !== 'llama' || (role !== 'q' && role !== 'k')) return (row) => row;
  const { headDimension } = source.architecture;
  const fileRow = deinterleave(headDimension);
  const ours = new Array<number>(headDimension);
  for (let row = 0; row < headDimension; row += 1) ours[fileRow(row)] = row;
  return (row) => row - (row % headDimension) + (ours[row % headDimension] ?? 0);
}

function planLinear(
  source: PackageSource,
  name: string,
  mapping: LinearMapping,
  sourceRow: (row: number) => number,
): PlannedTensor {
  const { outFeatures, inFeatures } = source.linears.get(name)!;
  const { type } = mapping;
  const shape = [outFeatures, inFeatures];
  return {
    name: nameOf(`${name}.weight`),
    shape,
    type,
    bytes: exportBytes(type, shape),
    pieces: () => [encodeLinear(source.readLinear(name), mapping, sourceRow)],
  };
}

function planBias(source: PackageSource, name: string, sourceRow: (row: number) => number): PlannedTensor[] {
  const { outFeatures, bias } = source.linears.get(name)!;
  if (bias === null) return [];
  return [
    planFloats(nameOf(`${name}.bias`), [outFeatures], () => {
      const values = source.readLinear(name).bias ?? new Float32Array(outFeatures);
      return values.map((_, row) => values[sourceRow(row)] ?? 0);
    }),
  ];
}

function refuseGridTable({ name }: PackedTable): never {
  throw new DBellError(
    'unsupported-model',
    `${name} cannot be exported: it is stored as a grid, which exports have for linears only`,
  );
}

/** Tables of 8 and 6 bits are Q8_0 and those of 4 bits Q4_0 as they are (groups of 32, fp16 scales); a 16-bit one is F16. */
function planTable(table: PackedTable, source: PackageSource, name: string): PlannedTensor {
  const { rows, columns } = table;
  if (table.bits === 'grid') return refuseGridTable(table);
  const shape = [rows, columns];
  const type = tableExportType(table.bits, columns);
  return {
    name,
    shape,
    type,
    bytes: exportBytes(type, shape),
    *pieces() {
      const scales = table.bits !== 16 && type !== 'F32' ? tableScales(table, source) : null;
      for (let begin = 0; begin < rows; begin += rowsPerPiece) {
        const values = source.readRowsFloat32(table.name, begin, Math.min(rowsPerPiece, rows - begin));
        if (scales !== null && (type === 'Q8_0' || type === 'Q4_0'))
          yield tableBlocks(values, scales.subarray((begin * columns) / 32), type);
        else yield type === 'F16' ? bytesOf(packing.floatsToHalfs(values).halfs) : bytesOf(values);
      }
    },
  };
}

/** Scales of a table in groups of 32 columns, fp16 bits, `[rows, groups]`. */
function tableScales(table: Exclude<PackedTable, { bits: 16 | 'grid' }>, source: PackageSource): Uint16Array {
  const stored = halfsOf(source.readBytes(table.scales));
  if (table.bits === 8) return stored;
  const { rows, groups } = table;
  return Uint16Array.from({ length: rows * groups }, (_, index) => {
    const row = Math.floor(index / groups);
    return (
      stored[
        (Math.floor(row / rowsPerGroup) * groups + (index % groups)) * rowsPerGroup + (row % rowsPerGroup)
      ] ?? 0
    );
  });
}

/** Blocks of 32 values that are whole multiples of their scales. */
function tableBlocks(values: Float32Array, scales: Uint16Array, type: 'Q8_0' | 'Q4_0'): Uint8Array {
  const { elements, bytes } = exportTypes[type];
  const target = new Uint8Array(exportBytes(type, [values.length]));
  const steps = packing.halfsToFloats(scales.subarray(0, values.length / elements));
  const codes = new Int8Array(elements);
  for (let block = 0; block * elements < values.length; block += 1) {
    const step = steps[block] ?? 0;
    for (let i = 0; i < elements; i += 1)
      codes[i] = step === 0 ? 0 : Math.round((values[block * elements + i] ?? 0) / step);
    const at = block * bytes;
    target[at] = (scales[block] ?? 0) & 255;
    target[at + 1] = (scales[block] ?? 0) >> 8;
    if (type === 'Q8_0') target.set(bytesOf(codes), at + 2);
    else
      for (let i = 0; i < elements / 2; i += 1)
        target[at + 2 + i] =
          (((codes[i] ?? 0) + 8) & 15) | ((((codes[elements / 2 + i] ?? 0) + 8) & 15) << 4);
  }
  return target;
}

function planFloat(source: PackageSource, name: string): PlannedTensor {
  const location = source.floats.get(name)!;
  return planFloats(nameOf(name), location.shape, () => source.readFloat32(name));
}

function planFloats(name: string, shape: readonly number[], values: () => Float32Array): PlannedTensor {
  const bytes = exportBytes('F32', shape);
  return { name, shape, type: 'F32', bytes, pieces: () => [bytesOf(values())] };
}

function nameOf(name: string): string {
  const translated = ggufName(name);
  if (translated === null)
    throw new DBellError('unsupported-model', `${name} cannot be exported: GGUF has no name for it`);
  return translated;
}

function countTypes(tensors: readonly PlannedTensor[]): GgufExportResult['types'] {
  const types: GgufExportResult['types'] = {};
  for (const { type, bytes } of tensors) {
    const { tensors: count, bytes: sum } = types[type] ?? { tensors: 0, bytes: 0 };
    types[type] = { tensors: count + 1, bytes: sum + bytes };
  }
  return types;
}

function checkStopped({ stopRequested }: GgufExportOptions): void {
  if (stopRequested?.()) throw new DBellError('stopped', 'stopped; nothing was written');
}

/** Lets messages (stop, progress) through between pieces of blocking work. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
