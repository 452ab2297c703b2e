import { DBellError } from '../../contract/errors.ts';
import { AtomicFile } from '../../files/atomic.ts';
import { expectedTensors } from '../../model/expected-tensors.ts';
import { ggufName } from '../../model/gguf/names.ts';
import type { ModelShape } from '../../model/model-shapes.ts';
import { SeededRandom } from '../../model/seeded-random.ts';
import {
  alignedBytes,
  exportBytes,
  exportTypes,
  type GgufTensorPlan,
  ggufHeader,
} from '../export-gguf-file.ts';
import { modelMetadata } from '../export-gguf-metadata.ts';
import { tokenizerMetadata } from '../export-gguf-tokenizer.ts';
import { bytesOf } from '../pack-linear.ts';
import { halfOf, repeated, syntheticSeed } from './random-values.ts';
import { byteLevelTokenizer, describeShape } from './synthetic-config.ts';

/** Types of random GGUF files: where a block's fp16 scale stands, and the root mean square of its codes in scales. */
const blockTypes = {
  Q1_0: { scaleAt: 0, deviation: 1 },
  Q2_0: { scaleAt: 0, deviation: Math.sqrt(1.5) },
  TQ2_0: { scaleAt: 64, deviation: Math.sqrt(2 / 3) },
  Q4_0: { scaleAt: 0, deviation: Math.sqrt(21.5) },
  Q8_0: { scaleAt: 0, deviation: 74 },
} as const;
export type SyntheticGgufType = keyof typeof blockTypes;
export const syntheticGgufTypes = Object.keys(blockTypes) as SyntheticGgufType[];

/** Blocks that are made at random; more of them are these again. */
const pooledBlocks = 1021;

/** Columns of a matrix that a type's blocks divide. */
export function blockElements(type: SyntheticGgufType): number {
  return exportTypes[type].elements;
}

/**
 * The shape whose matrices' columns the blocks of a type divide: hidden and intermediate size go up to the next multiple, heads keep their size and their
 * number of key and value heads goes up until it divides theirs. The shape itself where it fits already.
 */
export function shapeForType(shape: ModelShape, type: SyntheticGgufType): ModelShape {
  const multiple = blockElements(type);
  const up = (size: number): number => Math.ceil(size / multiple) * multiple;
  if (up(shape.hiddenSize) === shape.hiddenSize && up(shape.intermediateSize) === shape.intermediateSize)
    return shape;
  const headDimension = shape.hiddenSize / shape.headCount;
  let hiddenSize = up(shape.hiddenSize);
  while (hiddenSize % headDimension !== 0) hiddenSize += multiple;
  const headCount = hiddenSize / headDimension;
  let { keyValueHeadCount } = shape;
  while (headCount % keyValueHeadCount !== 0) keyValueHeadCount += 1;
  return {
    ...shape,
    name: `${shape.name} widened to ${hiddenSize} columns`,
    ...{ hiddenSize, headCount, keyValueHeadCount, intermediateSize: up(shape.intermediateSize) },
  };
}

/**
 * Writes a GGUF file of a shape whose matrices, embedding and head included, all have random codes of one type; norms are ones. For measuring speed only. Throws DBellError
 * `invalid-input` where the type's blocks do not divide the columns (`shapeForType`), `disk-full`, `disk-error`.
 */
export async function writeSyntheticGguf(
  file: string,
  shape: ModelShape,
  type: SyntheticGgufType,
  border: () => Promise<void> = async () => {},
): Promise<{ bytes: number }> {
  const { architecture, family } = describeShape(shape);
  const { metadata } = modelMetadata(
    { architecture, quality: { license: null } },
    `${shape.name}, random ${type}`,
  );
  const tokenizer = { tokenizer: byteLevelTokenizer(), config: {} };
  for (const [key, value] of tokenizerMetadata({ architecture, chatTemplate: null, tokenizer }))
    metadata.set(key, value);
  const tensors = expectedTensors(architecture, family).map(({ name, dimensions }): GgufTensorPlan => {
    const sizes = dimensions.map(({ size }) => size);
    const translated = ggufName(name);
    if (translated === null) throw new DBellError('internal', `GGUF has no name for ${name}`);
    const [, columns] = sizes;
    if (columns === undefined)
      return { name: translated, shape: sizes, type: 'F32', bytes: exportBytes('F32', sizes) };
    if (columns % blockElements(type) !== 0)
      throw new DBellError(
        'invalid-input',
        `${name} has ${columns} columns, which blocks of ${type} (${blockElements(type)}) do not divide`,
      );
    return { name: translated, shape: sizes, type, bytes: exportBytes(type, sizes) };
  });
  const random = new SeededRandom(syntheticSeed);
  const output = new AtomicFile(file);
  try {
    output.write(ggufHeader(metadata, tensors));
    for (const tensor of tensors) {
      const columns = tensor.shape[1] ?? 0;
      if (tensor.type === 'F32') output.write(bytesOf(new Float32Array(tensor.bytes / 4).fill(1)));
      else for (const piece of repeated(blockPool(random, type, columns), tensor.bytes)) output.write(piece);
      output.write(new Uint8Array(alignedBytes(tensor.bytes) - tensor.bytes));
      await border();
    }
    const bytes = output.position;
    output.commit();
    return { bytes };
  } catch (error) {
    output.abort();
    throw error;
  }
}

/** What decoding does not read of such a file: an embedding that is not the head, but for one row. */
export function unreadEmbeddingBytes(shape: ModelShape, type: SyntheticGgufType): number {
  return shape.tiedHead ? 0 : exportBytes(type, [shape.vocabularySize - 1, shape.hiddenSize]);
}

/** Blocks with random codes and the scale that keeps a layer's outputs about as large as its inputs. */
function blockPool(random: SeededRandom, type: SyntheticGgufType, columns: number): Uint8Array {
  const { scaleAt, deviation } = blockTypes[type];
  const { bytes } = exportTypes[type];
  const pool = Uint8Array.from({ length: pooledBlocks * bytes }, () =>
    type === 'TQ2_0' ? ternaryByte(random.nextUint32()) : random.nextUint32() & 255,
  );
  const scale = halfOf(1 / (Math.sqrt(columns) * deviation));
  for (let at = scaleAt; at < pool.length; at += bytes) {
    pool[at] = scale & 255;
    pool[at + 1] = scale >> 8;
  }
  return pool;
}

/** Four fields of two bits, each 0, 1 or 2. */
function ternaryByte(word: number): number {
  let byte = 0;
  for (let field = 0; field < 4; field += 1) byte |= ((word >>> (8 * field)) % 3) << (2 * field);
  return byte;
}
