import type { ModelShape } from '../../engine/model/model-shapes.ts';
import type { NativeLinear, NativeNorm, NativeRange, NativeTable } from '../../engine/native/runtime.ts';
import type { GpuPackage } from '../../engine/runtime/webgpu/gpu-package.ts';

const groups = (value: number, size: number): number => Math.ceil(value / size);
/** Small enough that no sum leaves float32, in every fp16 scale. */
const scaleBits = 0x1c00;

/** A grid linear `[rows, columns]` of `planes` bit planes; its bytes are what `randomBytes` gives. */
export function randomLinear(name: string, rows: number, columns: number, planes: number): NativeLinear {
  const rowGroups = groups(rows, 16);
  return {
    name,
    layout: 'grid',
    outFeatures: rows,
    inFeatures: columns,
    planeCount: planes,
    codeLayout: 'planes',
    codes: range('codes', rowGroups * groups(columns, 32) * planes * 64),
    levels: 2 ** planes,
    scales: range('scales', rowGroups * groups(columns, 128) * 32),
    columnScale: null,
    bias: null,
    offsets: null,
    rowScale: null,
    residual: null,
  };
}

/** A model of random codes in memory: 2 to the power of `planes` levels in the linears, 4 bits in the table of embedding and head. */
export function randomPackage(shape: ModelShape, planes: number): GpuPackage {
  const { hiddenSize, intermediateSize, headCount, keyValueHeadCount, vocabularySize } = shape;
  const headDimension = hiddenSize / headCount;
  const keySize = keyValueHeadCount * headDimension;
  const norm: NativeNorm = {
    kind: 'rms',
    epsilon: 1e-5,
    weight: range('ones', 4 * hiddenSize),
    bias: null,
  };
  const table: NativeTable = {
    type: 'Q4',
    rows: vocabularySize,
    columns: hiddenSize,
    values: range('codes', vocabularySize * 16 * groups(hiddenSize, 32)),
    scales: range('scales', vocabularySize * 2 * groups(hiddenSize, 32)),
  };
  const none = {
    attentionSubNorm: null,
    mlpSubNorm: null,
    queryNorm: null,
    keyNorm: null,
  };
  return {
    path: shape.name,
    isHeadTied: true,
    description: {
      path: shape.name,
      ...{ hiddenSize, intermediateSize, headCount, keyValueHeadCount, headDimension, vocabularySize },
      contextLength: shape.contextLength,
      embeddingSize: hiddenSize,
      slidingWindow: 0,
      activationScales: 'block',
      normPlacement: 'pre',
      activation: 'silu',
      inverseFrequencies: Float32Array.from(
        { length: headDimension / 2 },
        (_, index) => 10_000 ** ((-2 * index) / headDimension),
      ),
      positions: null,
      positionOffset: 0,
      embedding: table,
      head: table,
      headBias: null,
      projectIn: null,
      projectOut: null,
      finalNorm: norm,
      blocks: Array.from({ length: shape.blockCount }, () => ({
        ...none,
        attentionNorm: norm,
        mlpNorm: norm,
        q: randomLinear('q', hiddenSize, hiddenSize, planes),
        k: randomLinear('k', keySize, hiddenSize, planes),
        v: randomLinear('v', keySize, hiddenSize, planes),
        o: randomLinear('o', hiddenSize, hiddenSize, planes),
        gate: randomLinear('gate', intermediateSize, hiddenSize, planes),
        up: randomLinear('up', intermediateSize, hiddenSize, planes),
        down: randomLinear('down', hiddenSize, intermediateSize, planes),
      })),
    },
    read: randomBytes,
  };
}

/** Bytes of the package that a decoded token reads: linears and head whole. */
export function bytesPerToken({ description }: GpuPackage): number {
  const { blocks, head } = description;
  const linears = blocks.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate!, up, down]);
  return linears.reduce(
    (sum, { codes, scales }) => sum + codes.valueBytes + scales!.valueBytes,
    head.values.valueBytes + (head.scales?.valueBytes ?? 0),
  );
}

function range(name: string, valueBytes: number): NativeRange {
  return { name, offset: 0, valueBytes };
}

/** Codes by a generator (xorshift32) whose period no buffer reaches; scales and norms of one value. */
export function randomBytes({ name }: NativeRange, begin: number, length: number): Uint8Array {
  const words = Math.ceil(length / 4);
  if (name === 'scales') return new Uint8Array(new Uint16Array(2 * words).fill(scaleBits).buffer, 0, length);
  if (name === 'ones') return new Uint8Array(new Float32Array(words).fill(1).buffer, 0, length);
  const values = new Uint32Array(words);
  let state = (begin * 2_654_435_761 + 88_172_645) >>> 0 || 1;
  for (let index = 0; index < words; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[index] = state;
  }
  return new Uint8Array(values.buffer, 0, length);
}
