import path from 'node:path';
import { DBellError } from '../contract/errors.ts';
import type { BlockWeights, ColumnScales } from '../float/types.ts';
import type { Architecture, Norm } from '../model/architecture.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { ModelProblem, ModelSource, TokenizerDefinition } from '../model/source.ts';
import { packing } from '../native/packing.ts';
import { dequantize } from '../quantize/dequantize.ts';
import { blockCount, type QuantizedLinear } from '../quantize/quantized-linear.ts';
import type { ActivationScales } from '../quantize/recipe.ts';
import { DequantizedModel } from './dequantized-model.ts';
import {
  bytesPerLine,
  type ExpectedEntry,
  elementBytes,
  lineCount,
  modelFileName,
  plannedTensors,
  rowGroupCount,
  rowsPerGroup,
  tableGroupCount,
  tableLineCount,
} from './layout.ts';
import { float32Of, halfsOf, type LinearEntry, unpackLinear } from './pack-linear.ts';
import type { PackageQuality, QuantizationConfig, TensorEntry } from './schema.ts';
import type { PackageSource, PackedGridLinear, PackedLinear, PackedTable, TensorLocation } from './types.ts';

/** What the reader hands over after its checks. */
export interface PackageParts {
  path: string;
  file: ByteSource;
  packageBytes: number;
  config: Record<string, unknown>;
  generationConfig: Record<string, unknown> | null;
  architecture: Architecture;
  quantization: QuantizationConfig;
  quality: PackageQuality;
  entries: { expected: ExpectedEntry; entry: TensorEntry }[];
  locations: Map<string, TensorLocation>;
  tokenizer: TokenizerDefinition;
  tokenizerFiles: Map<string, Uint8Array>;
  chatTemplate: string | null;
  license: string | null;
  warnings: ModelProblem[];
}

/** PackageSource over checked parts. */
export class OpenedPackage implements PackageSource {
  readonly path: string;
  readonly modelPath: string;
  readonly modelBytes: number;
  readonly packageBytes: number;
  readonly config: Record<string, unknown>;
  readonly generationConfig: Record<string, unknown> | null;
  readonly architecture: Architecture;
  readonly tokenizer: TokenizerDefinition;
  readonly tokenizerFiles: ReadonlyMap<string, Uint8Array>;
  readonly chatTemplate: string | null;
  readonly quantization: QuantizationConfig;
  readonly quality: PackageQuality;
  readonly activationBits: 16 | 8 | 6 | 4;
  readonly activationScales: ActivationScales;
  readonly linears: ReadonlyMap<string, PackedLinear>;
  readonly embedding: PackedTable;
  readonly head: PackedTable;
  readonly floats: ReadonlyMap<string, TensorLocation>;
  readonly storedBitsPerWeight: number;
  readonly warnings: ModelProblem[];
  readonly #file: ByteSource;
  readonly #entries: Map<string, LinearEntry>;

  constructor(parts: PackageParts) {
    this.path = parts.path;
    this.modelPath = path.join(parts.path, modelFileName);
    this.modelBytes = parts.file.size;
    this.packageBytes = parts.packageBytes;
    this.config = parts.config;
    this.generationConfig = parts.generationConfig;
    this.architecture = parts.architecture;
    this.tokenizer = parts.tokenizer;
    this.tokenizerFiles = parts.tokenizerFiles;
    this.chatTemplate = parts.chatTemplate;
    this.quantization = parts.quantization;
    this.quality = parts.quality;
    this.activationBits = parts.quantization.activation_bits;
    this.activationScales = parts.quantization.activation_scales ?? 'token';
    this.warnings = parts.warnings;
    this.#file = parts.file;
    this.#entries = new Map();
    const linears = new Map<string, PackedLinear>();
    const tables = new Map<string, PackedTable>();
    const floats = new Map<string, TensorLocation>();
    for (const { expected, entry } of parts.entries) {
      const locations = plannedTensors(expected.name, entry).map(
        (planned) => parts.locations.get(planned.name)!,
      );
      if (entry.layout === 'float') floats.set(expected.name, locations[0]!);
      else if (entry.layout === 'table')
        tables.set(expected.name, packedTable(expected.name, entry, locations));
      else if (entry.layout === 'grid-table')
        tables.set(expected.name, gridTable(expected.name, entry, locations));
      else {
        this.#entries.set(expected.name, entry);
        linears.set(expected.name, packedLinear(expected.name, entry, locations));
      }
    }
    this.linears = linears;
    this.floats = floats;
    this.embedding = tables.get(this.architecture.embedding.table)!;
    this.head = tables.get(this.architecture.head.weight)!;
    let weights = 0;
    let storedBytes = 0;
    for (const linear of linears.values()) {
      weights += linear.outFeatures * linear.inFeatures;
      storedBytes += linear.storedBytes;
    }
    this.storedBitsPerWeight = (8 * storedBytes) / weights;
  }

  readLinear(name: string): QuantizedLinear {
    const entry = this.#entries.get(name);
    const linear = this.linears.get(name);
    if (entry === undefined || linear === undefined)
      throw new DBellError('not-found', `${this.path} has no quantized linear ${name}`);
    const bytes = locationsOf(linear).map((location) => this.readBytes(location));
    return unpackLinear(name, entry, bytes);
  }

  readBytes(location: TensorLocation): Uint8Array {
    return this.#read(location.offset, location.valueBytes);
  }

  /** Bytes [begin, begin + length) of a location. */
  readRange(location: TensorLocation, begin: number, length: number): Uint8Array {
    return this.#read(location.offset + begin, length);
  }

  readFloat32(name: string): Float32Array {
    const location = this.floats.get(name);
    if (location !== undefined) return this.#floats(location, 0, location.valueBytes);
    const table = this.#table(name);
    return this.readRowsFloat32(name, 0, table.rows);
  }

  readRowsFloat32(name: string, begin: number, count: number): Float32Array {
    const location = this.floats.get(name);
    const [rows, columns] =
      location === undefined
        ? [this.#table(name).rows, this.#table(name).columns]
        : [location.shape[0] ?? 0, location.shape[1] ?? 1];
    if (
      !Number.isInteger(begin) ||
      !Number.isInteger(count) ||
      begin < 0 ||
      count < 0 ||
      begin + count > rows
    )
      throw new DBellError(
        'invalid-input',
        `${name}: rows ${begin} … ${begin + count} of ${rows} were asked for`,
      );
    if (location !== undefined) {
      const rowBytes = columns * elementBytes[location.dtype];
      return this.#floats(location, begin * rowBytes, count * rowBytes);
    }
    const table = this.#table(name);
    if (table.bits === 16) return this.#floats(table.values, begin * columns * 2, count * columns * 2);
    if (table.bits === 'grid') return this.#gridRows(table.linear, begin, count);
    if (table.bits !== 8) return this.#packedRows(table, begin, count);
    const codeBytes = table.groups * 32;
    const codes = this.#read(table.codes.offset + begin * codeBytes, count * codeBytes);
    const scales = this.#read(table.scales.offset + begin * table.groups * 2, count * table.groups * 2);
    const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
    return packing.dequantizeTable8(signed, halfsOf(scales), count, columns);
  }

  dequantizedBlock(index: number): { weights: BlockWeights; columnScales: ColumnScales } {
    const block = this.architecture.blocks[index];
    if (block === undefined)
      throw new DBellError(
        'not-found',
        `${this.path} has ${this.architecture.blocks.length} blocks, no block ${index}`,
      );
    const weights: BlockWeights = new Map();
    const columnScales: ColumnScales = {};
    for (const stage of block.stages) {
      let first: Float32Array | null | undefined;
      for (const description of stage.linears) {
        const linear = this.readLinear(description.name);
        weights.set(`${description.name}.weight`, dequantize(linear));
        if (description.bias !== null && linear.bias !== null) weights.set(description.bias, linear.bias);
        if (first === undefined) first = linear.columnScale;
        else if (!sameValues(first, linear.columnScale))
          throw new DBellError(
            'invalid-package',
            `${this.path}: ${stage.linears[0]?.name} and ${description.name} read the same input but have different column scales`,
          );
      }
      if (first) columnScales[stage.name] = first;
    }
    const { attentionNorm, queryNorm, keyNorm, mlpNorm, attentionSubNorm, mlpSubNorm } = block;
    const norms = [attentionNorm, queryNorm, keyNorm, mlpNorm, attentionSubNorm, mlpSubNorm];
    for (const name of normTensors(norms)) weights.set(name, this.readFloat32(name));
    return { weights, columnScales };
  }

  asModelSource(): ModelSource {
    return new DequantizedModel(this);
  }

  close(): void {
    this.#file.close();
  }

  /** Rows of a table of 6 or 4 bits: the groups of 16 rows that they stand in are read whole. */
  #packedRows(table: Extract<PackedTable, { bits: 6 | 4 }>, begin: number, count: number): Float32Array {
    const { groups, columns, bits } = table;
    const firstGroup = Math.floor(begin / rowsPerGroup);
    const rowGroups = Math.ceil((begin + count) / rowsPerGroup) - firstGroup;
    if (count === 0) return new Float32Array(0);
    const lineBytes = groups * tableLineCount(bits) * bytesPerLine;
    const scaleBytes = groups * rowsPerGroup * elementBytes.F16;
    const lines = this.#read(table.codes.offset + firstGroup * lineBytes, rowGroups * lineBytes);
    const scales = this.#read(table.scales.offset + firstGroup * scaleBytes, rowGroups * scaleBytes);
    const rows = rowGroups * rowsPerGroup;
    const values = packing.dequantizePackedTable(lines, halfsOf(scales), rows, columns, bits);
    const skipped = (begin - firstGroup * rowsPerGroup) * columns;
    return values.slice(skipped, skipped + count * columns);
  }

  /** Rows of a grid table: the groups of 16 rows that they stand in are read whole. */
  #gridRows(linear: PackedGridLinear, begin: number, count: number): Float32Array {
    if (count === 0) return new Float32Array(0);
    const { name, inFeatures, outFeatures, rowGroups, levels, planeCount, codeLayout } = linear;
    const firstGroup = Math.floor(begin / rowsPerGroup);
    const groups = Math.ceil((begin + count) / rowsPerGroup) - firstGroup;
    const rows = Math.min(groups * rowsPerGroup, outFeatures - firstGroup * rowsPerGroup);
    const bytes = [linear.codes, linear.scales].map((location) => {
      const groupBytes = location.valueBytes / rowGroups;
      return this.#read(location.offset + firstGroup * groupBytes, groups * groupBytes);
    });
    const entry = gridEntry({
      shape: [rows, inFeatures],
      levels,
      planes: planeCount,
      codes: codeLayout === 'base-3' ? codeLayout : undefined,
    });
    const values = dequantize(unpackLinear(name, entry, bytes));
    const skipped = (begin - firstGroup * rowsPerGroup) * inFeatures;
    return values.slice(skipped, skipped + count * inFeatures);
  }

  #table(name: string): PackedTable {
    for (const table of [this.embedding, this.head]) if (table.name === name) return table;
    throw new DBellError('not-found', `${this.path} has no float tensor ${name}`);
  }

  #floats(location: TensorLocation, begin: number, length: number): Float32Array {
    const bytes = this.#read(location.offset + begin, length);
    return location.dtype === 'F16' ? packing.halfsToFloats(halfsOf(bytes)) : float32Of(bytes);
  }

  #read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#file.readInto(position, bytes);
    return bytes;
  }
}

/** Names of the weights and biases that norms have. */
export function normTensors(norms: readonly (Norm | null)[]): string[] {
  return norms.flatMap((norm) => [norm?.weight, norm?.bias]).filter((name) => typeof name === 'string');
}

/** All tensors of a linear in the order in which they are written. */
export function locationsOf(linear: PackedLinear): TensorLocation[] {
  if (linear.layout === 'structured')
    return present([linear.codes, linear.levels, linear.salientMask, linear.columnScale, linear.bias]);
  const { codes, scales, offsets, residual, columnScale, rowScale, bias } = linear;
  const residualParts = residual ? [residual.columns, residual.planes, residual.scales] : [];
  return present([codes, scales, offsets, ...residualParts, columnScale, rowScale, bias]);
}

function present(locations: (TensorLocation | null)[]): TensorLocation[] {
  return locations.filter((location) => location !== null);
}

function sameValues(a: Float32Array | null, b: Float32Array | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function storedBytes(locations: TensorLocation[]): number {
  return locations.reduce((sum, location) => sum + location.byteLength, 0);
}

function packedLinear(name: string, entry: LinearEntry, locations: TensorLocation[]): PackedLinear {
  const [outFeatures, inFeatures] = entry.shape;
  const part = (suffix: string): TensorLocation | null =>
    locations.find((location) => location.name === `${name}.dbell.${suffix}`) ?? null;
  const base = {
    name,
    outFeatures,
    inFeatures,
    rowGroups: rowGroupCount(outFeatures),
    lines: lineCount(inFeatures),
    blocks: blockCount(inFeatures),
    codes: (part('planes') ?? part('base3'))!,
    columnScale: part('column_scale'),
    bias: part('bias'),
    storedBytes: storedBytes(locations),
  };
  if (entry.layout === 'grid') {
    const scales = part('scales')!;
    const offsets = part('offsets');
    const rowScale = part('row_scale');
    const count = entry.residual_columns;
    return {
      ...base,
      layout: 'grid',
      codeLayout: entry.codes ?? 'planes',
      planeCount: entry.planes,
      levels: entry.levels,
      scales,
      offsets,
      rowScale,
      residual:
        count === undefined
          ? null
          : {
              count,
              columns: part('residual_columns')!,
              planes: part('residual_planes')!,
              scales: part('residual_scales')!,
            },
    };
  }
  return {
    ...base,
    layout: 'structured',
    codeLayout: 'planes',
    planeCount: 2,
    levels: part('levels')!,
    salientMask: part('salient_mask')!,
  };
}

type GridTableEntry = Extract<TensorEntry, { layout: 'grid-table' }>;

/** How the codes of a grid lie. */
type GridStorage = Pick<Extract<LinearEntry, { layout: 'grid' }>, 'shape' | 'levels' | 'planes' | 'codes'>;

/** The entry of a grid linear with codes and scales alone, which is how a grid table is stored. */
function gridEntry({ shape, levels, planes, codes }: GridStorage): LinearEntry {
  return {
    layout: 'grid',
    ...{ shape, levels, planes },
    ...(codes ? { codes } : {}),
    ...{ offsets: false, column_scale: false, bias: false },
  };
}

function gridTable(name: string, entry: GridTableEntry, locations: TensorLocation[]): PackedTable {
  const linear = packedLinear(name, gridEntry(entry), locations);
  if (linear.layout !== 'grid') throw new DBellError('internal', `${name} is no grid`);
  const [rows, columns] = entry.shape;
  return { bits: 'grid', name, rows, columns, linear, storedBytes: linear.storedBytes };
}

function packedTable(
  name: string,
  entry: Extract<TensorEntry, { layout: 'table' }>,
  locations: TensorLocation[],
): PackedTable {
  const [rows, columns] = entry.shape;
  const base = { name, rows, columns, storedBytes: storedBytes(locations) };
  if (entry.bits === 16) return { ...base, bits: 16, values: locations[0]! };
  const groups = tableGroupCount(columns);
  if (entry.bits !== 8)
    return { ...base, bits: entry.bits, groups, codes: locations[0]!, scales: locations[1]! };
  return { ...base, bits: 8, groups, codes: locations[0]!, scales: locations[1]! };
}
