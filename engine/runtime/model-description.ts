import { DBellError } from '../contract/errors.ts';
import { inverseFrequencies } from '../float/rotary.ts';
import type { Block, LinearRole, Norm } from '../model/architecture.ts';
import { linearsOf } from '../model/architecture.ts';
import type {
  NativeBlock,
  NativeGridTable,
  NativeLinear,
  NativeModelDescription,
  NativeNorm,
  NativeRange,
  NativeTable,
} from '../native/runtime.ts';
import type { PackageSource, PackedLinear, PackedTable, TensorLocation } from '../package/types.ts';

/** What the addon needs to know about a package: geometry from the architecture, positions from the package's header. */
export function describeForNative(
  source: PackageSource,
): NativeModelDescription<NativeTable | NativeGridTable> {
  const { architecture } = source;
  const { position, embedding, head } = architecture;
  const learned = position.kind === 'learned' ? position : null;
  return {
    path: source.modelPath,
    hiddenSize: architecture.hiddenSize,
    intermediateSize: architecture.intermediateSize,
    headCount: architecture.headCount,
    keyValueHeadCount: architecture.keyValueHeadCount,
    headDimension: architecture.headDimension,
    vocabularySize: architecture.vocabularySize,
    contextLength: architecture.contextLength,
    embeddingSize: embedding.embeddingSize,
    slidingWindow: architecture.slidingWindow ?? 0,
    activationScales: source.activationScales,
    normPlacement: architecture.normPlacement,
    activation: architecture.activation,
    inverseFrequencies: position.kind === 'rope' ? inverseFrequencies(position) : null,
    positions: learned ? floatTable(source, learned.table) : null,
    positionOffset: learned?.offset ?? 0,
    embedding: vocabularyTable(source.embedding),
    head: vocabularyTable(source.head),
    headBias: head.bias ? range(floatLocation(source, head.bias)) : null,
    projectIn: embedding.projectIn ? floatTable(source, embedding.projectIn) : null,
    projectOut: embedding.projectOut ? floatTable(source, embedding.projectOut) : null,
    finalNorm: architecture.finalNorm ? norm(source, architecture.finalNorm) : null,
    blocks: architecture.blocks.map((block) => describeBlock(source, block)),
  };
}

function describeBlock(source: PackageSource, block: Block): NativeBlock {
  const names = new Map<LinearRole, string>(linearsOf(block).map(({ role, name }) => [role, name]));
  const find = (role: LinearRole): NativeLinear => {
    const name = names.get(role);
    if (name === undefined)
      throw new DBellError('unsupported-model', `block ${block.index} has no ${role} projection`);
    return linear(source, name);
  };
  return {
    attentionNorm: norm(source, block.attentionNorm),
    mlpNorm: norm(source, block.mlpNorm),
    queryNorm: block.queryNorm ? norm(source, block.queryNorm) : null,
    keyNorm: block.keyNorm ? norm(source, block.keyNorm) : null,
    attentionSubNorm: block.attentionSubNorm ? norm(source, block.attentionSubNorm) : null,
    mlpSubNorm: block.mlpSubNorm ? norm(source, block.mlpSubNorm) : null,
    q: find('q'),
    k: find('k'),
    v: find('v'),
    o: find('o'),
    gate: names.has('gate') ? find('gate') : null,
    up: find('up'),
    down: find('down'),
  };
}

function linear(source: PackageSource, name: string): NativeLinear {
  const packed = source.linears.get(name);
  if (!packed) throw new DBellError('invalid-package', `${source.path}: the linear ${name} is missing`);
  return nativeLinear(packed);
}

function nativeLinear(packed: PackedLinear): NativeLinear {
  const common = {
    name: packed.name,
    outFeatures: packed.outFeatures,
    inFeatures: packed.inFeatures,
    planeCount: packed.planeCount,
    codes: range(packed.codes),
    columnScale: optionalRange(packed.columnScale),
    bias: optionalRange(packed.bias),
  };
  return packed.layout === 'grid'
    ? {
        ...common,
        layout: 'grid',
        codeLayout: packed.codeLayout,
        levels: packed.levels,
        scales: range(packed.scales),
        offsets: optionalRange(packed.offsets),
        rowScale: optionalRange(packed.rowScale),
        residual: packed.residual && {
          count: packed.residual.count,
          columns: range(packed.residual.columns),
          planes: range(packed.residual.planes),
          scales: range(packed.residual.scales),
        },
      }
    : {
        ...common,
        layout: 'structured',
        levels: range(packed.levels),
        salientMask: range(packed.salientMask),
      };
}

function range({ name, offset, valueBytes }: TensorLocation): NativeRange {
  return { name, offset, valueBytes };
}

function optionalRange(location: TensorLocation | null): NativeRange | null {
  return location ? range(location) : null;
}

function floatLocation(source: PackageSource, name: string): TensorLocation {
  const location = source.floats.get(name);
  if (!location) throw new DBellError('invalid-package', `${source.path}: the tensor ${name} is missing`);
  return location;
}

/** Norm parameters and biases are read in place as float32. */
function float32Range(source: PackageSource, name: string | null): NativeRange | null {
  if (name === null) return null;
  const location = floatLocation(source, name);
  if (location.dtype !== 'F32')
    throw new DBellError(
      'invalid-package',
      `${source.path}: ${name} is ${location.dtype}; F32 is needed there`,
    );
  return range(location);
}

function norm(source: PackageSource, { kind, epsilon, weight, bias }: Norm): NativeNorm {
  return { kind, epsilon, weight: float32Range(source, weight), bias: float32Range(source, bias) };
}

function floatTable(source: PackageSource, name: string): NativeTable {
  const location = floatLocation(source, name);
  const [rows, columns] = location.shape;
  if ((location.dtype !== 'F32' && location.dtype !== 'F16') || location.shape.length !== 2)
    throw new DBellError(
      'invalid-package',
      `${source.path}: ${name} is ${location.dtype} [${location.shape}]; a matrix of F16 or F32 is needed there`,
    );
  return { type: location.dtype, rows: rows!, columns: columns!, values: range(location), scales: null };
}

function vocabularyTable(table: PackedTable): NativeTable | NativeGridTable {
  return table.bits === 'grid' ? { type: 'grid', grid: nativeLinear(table.linear) } : packedTable(table);
}

function packedTable(table: Exclude<PackedTable, { bits: 'grid' }>): NativeTable {
  const { rows, columns } = table;
  return table.bits === 16
    ? { type: 'F16', rows, columns, values: range(table.values), scales: null }
    : {
        type: table.bits === 8 ? 'I8' : table.bits === 6 ? 'Q6' : 'Q4',
        rows,
        columns,
        values: range(table.codes),
        scales: range(table.scales),
      };
}
