import { DBellError } from '../../contract/errors.ts';
import type { Activation } from '../../model/architecture.ts';
import type {
  NativeLinear,
  NativeModelDescription,
  NativeNorm,
  NativeRange,
  NativeTable,
} from '../../native/runtime.ts';
import type { GpuContext } from './context.ts';
import type { GpuPackage } from './gpu-package.ts';
import { gpuLimits } from './limits.ts';

// Weights on the device: the bytes of the package as they are stored, each linear or table in one buffer, or in several of whole row groups where one would be larger
// than the adapter binds.

const rowsPerGroup = 16;
const groupUp = (value: number, size: number): number => Math.ceil(value / size);

/** Rows that one buffer holds. */
export interface WeightPart {
  buffer: GPUBuffer;
  firstRow: number;
  rowGroups: number;
  rows: number;
  /** Words at which what stands behind the codes begins. */
  scalesAt: number;
  offsetsAt: number;
  maskAt: number;
}

export interface GpuLinear {
  name: string;
  layout: 'grid' | 'structured';
  inFeatures: number;
  outFeatures: number;
  rowGroups: number;
  blocks: number;
  lines: number;
  levels: number;
  codes: { kind: 'planes'; planes: number } | { kind: 'base-3'; rowBytes: number };
  hasOffsets: boolean;
  hasRowScale: boolean;
  parts: WeightPart[];
  /** Bias `[rowGroups · 16]`, zeros where there is none, then the row scale. */
  vectors: GPUBuffer;
  columnScale: GPUBuffer | null;
  residual: { columns: GPUBuffer; count: number; linear: GpuLinear } | null;
}

export interface GpuTable {
  type: NativeTable['type'];
  rows: number;
  columns: number;
  /** Of 32 columns. */
  groups: number;
  parts: WeightPart[];
}

export interface GpuNorm {
  kind: NativeNorm['kind'];
  epsilon: number;
  size: number;
  hasWeight: boolean;
  hasBias: boolean;
  /** Weight `[size]`, then bias. */
  vectors: GPUBuffer;
}

export interface GpuBlock {
  attentionNorm: GpuNorm;
  mlpNorm: GpuNorm;
  queryNorm: GpuNorm | null;
  keyNorm: GpuNorm | null;
  attentionSubNorm: GpuNorm | null;
  mlpSubNorm: GpuNorm | null;
  q: GpuLinear;
  k: GpuLinear;
  v: GpuLinear;
  o: GpuLinear;
  gate: GpuLinear | null;
  up: GpuLinear;
  down: GpuLinear;
}

/** A package's weights on the device, and the geometry that the sessions need. */
export interface GpuWeights {
  description: NativeModelDescription;
  activation: Activation;
  blocks: GpuBlock[];
  embedding: GpuTable;
  /** The same as `embedding` where they are tied. */
  head: GpuTable;
  headBias: GPUBuffer | null;
  positions: GpuTable | null;
  projectIn: GpuTable | null;
  projectOut: GpuTable | null;
  finalNorm: GpuNorm | null;
}

/** A stretch of a tensor in the package. */
interface Piece {
  range: NativeRange;
  begin: number;
  length: number;
}

/**
 * Row groups cut so that no part takes more than `maximumBytes`; as few parts as possible. `fixedBytes` stand in each part. Throws DBellError `out-of-memory` where a
 * single row group is too large.
 */
export function cutRowGroups(
  name: string,
  rowGroups: number,
  bytesPerRowGroup: number,
  fixedBytes: number,
  maximumBytes: number,
): { first: number; count: number }[] {
  const most = Math.min(
    Math.floor((maximumBytes - fixedBytes) / bytesPerRowGroup),
    gpuLimits.workgroupsPerDimension,
  );
  if (most < 1)
    throw new DBellError(
      'out-of-memory',
      `${name}: 16 rows take ${bytesPerRowGroup + fixedBytes} bytes; the device binds ${maximumBytes} at most; use --device cpu`,
    );
  const parts: { first: number; count: number }[] = [];
  for (let first = 0; first < rowGroups; first += most)
    parts.push({ first, count: Math.min(most, rowGroups - first) });
  return parts;
}

/** Copies weights of an open package to a device. */
export class WeightUploader {
  readonly #context: GpuContext;
  readonly #source: Pick<GpuPackage, 'read'>;
  readonly #buffers: GPUBuffer[] = [];
  #bytesInFlight = 0;

  constructor(context: GpuContext, source: Pick<GpuPackage, 'read'>) {
    this.#context = context;
    this.#source = source;
  }

  async linear(description: NativeLinear): Promise<GpuLinear> {
    const { name, layout, inFeatures, outFeatures, planeCount, residual } = description;
    const rowGroups = groupUp(outFeatures, rowsPerGroup);
    const values = layout === 'grid' ? description.scales : (description.levels as NativeRange);
    const tensors = [description.codes, values!, description.offsets ?? null];
    const parts = await this.#parts(
      name,
      outFeatures,
      tensors,
      tensors.map((tensor) => (tensor ? tensor.valueBytes / rowGroups : 0)),
      description.salientMask ?? null,
    );
    const linear: GpuLinear = {
      name,
      layout,
      inFeatures,
      outFeatures,
      rowGroups,
      blocks: groupUp(inFeatures, 128),
      lines: groupUp(inFeatures, 32),
      levels: layout === 'grid' ? (description.levels as number) : 4,
      codes:
        description.codeLayout === 'base-3'
          ? { kind: 'base-3', rowBytes: description.codes.valueBytes / rowGroups / rowsPerGroup }
          : { kind: 'planes', planes: planeCount },
      hasOffsets: Boolean(description.offsets),
      hasRowScale: Boolean(description.rowScale),
      parts,
      vectors: await this.#vectors(`${name}: bias`, [
        [description.bias, rowGroups * rowsPerGroup],
        [description.rowScale ?? null, description.rowScale ? rowGroups * rowsPerGroup : 0],
      ]),
      columnScale: description.columnScale
        ? await this.#vectors(`${name}: column scale`, [[description.columnScale, inFeatures]])
        : null,
      residual: null,
    };
    if (residual) {
      const { count, columns, planes, scales } = residual;
      linear.residual = {
        count,
        columns: await this.#vectors(`${name}: residual columns`, [[columns, count]]),
        linear: await this.linear({
          name: `${name} residual`,
          layout: 'grid',
          outFeatures,
          inFeatures: count,
          planeCount: 1,
          codeLayout: 'planes',
          codes: planes,
          levels: 2,
          scales,
          columnScale: null,
          bias: null,
        }),
      };
    }
    return linear;
  }

  async table(name: string, description: NativeTable): Promise<GpuTable> {
    const { type, rows, columns, values, scales } = description;
    const groups = groupUp(columns, 32);
    const codeBytes = {
      F32: 4 * columns,
      F16: 2 * columns,
      I8: 32 * groups,
      Q6: 24 * groups,
      Q4: 16 * groups,
    };
    return {
      type,
      rows,
      columns,
      groups,
      parts: await this.#parts(
        name,
        rows,
        [values, scales],
        [rowsPerGroup * codeBytes[type], scales ? rowsPerGroup * 2 * groups : 0],
        null,
      ),
    };
  }

  async norm(description: NativeNorm, size: number): Promise<GpuNorm> {
    const { kind, epsilon, weight, bias } = description;
    return {
      kind,
      epsilon: Math.fround(epsilon),
      size,
      hasWeight: weight !== null,
      hasBias: bias !== null,
      vectors: await this.#vectors(weight?.name ?? 'norm', [
        [weight, size],
        [bias, size],
      ]),
    };
  }

  /** F32 or I32 values one behind the other, each filled up with zeros to its length in words. */
  vectors(label: string, ...ranges: [range: NativeRange | null, words: number][]): Promise<GPUBuffer> {
    return this.#vectors(label, ranges);
  }

  /** Of all buffers. */
  get bytes(): number {
    return this.#buffers.reduce((sum, buffer) => sum + buffer.size, 0);
  }

  /** Takes everything that was uploaded off the device. */
  destroy(): void {
    for (const buffer of this.#buffers) this.#context.destroyBuffer('weights', buffer);
    this.#buffers.length = 0;
  }

  #create(label: string, bytes: number): GPUBuffer {
    const buffer = this.#context.createBuffer('weights', label, bytes);
    this.#buffers.push(buffer);
    return buffer;
  }

  async #vectors(label: string, ranges: [range: NativeRange | null, words: number][]): Promise<GPUBuffer> {
    const words = ranges.reduce((sum, [, length]) => sum + length, 0);
    const buffer = this.#create(label, 4 * words);
    let at = 0;
    for (const [range, length] of ranges) {
      if (range) await this.#upload(buffer, at, { range, begin: 0, length: range.valueBytes });
      at += 4 * length;
    }
    return buffer;
  }

  /** Buffers of whole row groups: codes, then scales, offsets and a mask that every part has. `bytes` are those of 16 rows of each tensor. */
  async #parts(
    name: string,
    rows: number,
    tensors: (NativeRange | null)[],
    bytes: number[],
    mask: NativeRange | null,
  ): Promise<WeightPart[]> {
    const rowGroups = groupUp(rows, rowsPerGroup);
    const perGroup = bytes.reduce((sum, value) => sum + value, 0);
    const maskBytes = mask?.valueBytes ?? 0;
    const parts: WeightPart[] = [];
    for (const { first, count } of cutRowGroups(
      name,
      rowGroups,
      perGroup,
      maskBytes,
      this.#context.maximumWeightBytes,
    )) {
      const buffer = this.#create(name, perGroup * count + maskBytes);
      const starts: number[] = [];
      let at = 0;
      for (const [index, range] of tensors.entries()) {
        starts.push(at);
        const groupBytes = bytes[index]!;
        if (range) {
          const begin = first * groupBytes;
          const length = Math.min(count * groupBytes, range.valueBytes - begin);
          await this.#upload(buffer, at, { range, begin, length });
        }
        at += count * groupBytes;
      }
      if (mask) await this.#upload(buffer, at, { range: mask, begin: 0, length: maskBytes });
      parts.push({
        buffer,
        firstRow: first * rowsPerGroup,
        rowGroups: count,
        rows: Math.min(count * rowsPerGroup, rows - first * rowsPerGroup),
        scalesAt: (starts[1] ?? 0) / 4,
        offsetsAt: (starts[2] ?? 0) / 4,
        maskAt: at / 4,
      });
    }
    return parts;
  }

  /** In pieces, waiting for the device now and then, so that the host holds little of what goes up. */
  async #upload(buffer: GPUBuffer, at: number, { range, begin, length }: Piece): Promise<void> {
    const { queue } = this.#context.device;
    for (let done = 0; done < length; done += gpuLimits.uploadBytes) {
      const size = Math.min(gpuLimits.uploadBytes, length - done);
      const bytes = wholeWords(await this.#source.read(range, begin + done, size));
      queue.writeBuffer(buffer, at + done, bytes);
      this.#bytesInFlight += size;
      if (this.#bytesInFlight < gpuLimits.uploadWindowBytes) continue;
      await this.#context.orLost(queue.onSubmittedWorkDone());
      this.#bytesInFlight = 0;
    }
  }
}

/** Filled up with zeros to whole words, as the queue wants them. */
function wholeWords(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.length % 4 === 0) return bytes as Uint8Array<ArrayBuffer>;
  const filled = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  filled.set(bytes);
  return filled;
}
