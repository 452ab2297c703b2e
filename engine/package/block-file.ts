import { createHash } from 'node:crypto';
import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { AtomicFile } from '../files/atomic.ts';
import { FileSource } from '../model/byte-source.ts';
import { parseSafetensorsHeader, type StoredTensor } from '../model/safetensors.ts';
import { packing } from '../native/packing.ts';
import type { LayerReport, QuantizedBlock } from '../quantize/sink.ts';
import { type PlannedTensor, padded, plannedTensors, valueBytesOf } from './layout.ts';
import { checkChunkBytes } from './limits.ts';
import { bytesOf, entryOf, packLinear } from './pack-linear.ts';
import { planSafetensors } from './safetensors-header.ts';
import { type TensorEntry, tensorEntrySchema } from './schema.ts';

/** Version of the unfinished blocks' files in OUT.partial; they never leave it. */
const blockFileVersion = 1;

/** Sorts by index as text too. */
export function blockFileName(index: number): string {
  return `block-${String(index).padStart(5, '0')}.safetensors`;
}

const metadataSchema = z.strictObject({
  version: z.literal(blockFileVersion),
  fingerprint: z.string(),
  index: z.int().min(0),
  /** SHA-256 of the data section. */
  sha256: z.string(),
  entries: z.record(z.string(), tensorEntrySchema),
  reports: z.array(
    z.strictObject({
      name: z.string(),
      relativeError: z.number(),
      targetRelativeError: z.number().optional(),
      weightRelativeError: z.number(),
      notes: z.array(z.string()),
    }),
  ),
});

export interface BlockFile {
  index: number;
  fingerprint: string;
  entries: Map<string, TensorEntry>;
  reports: LayerReport[];
  /** By tensor name. */
  tensors: Map<string, StoredTensor>;
  source: FileSource;
  dataPosition: number;
  sha256: string;
}

/**
 * Packs a block into one safetensors file that appears complete or not at all. Its bytes depend on block and fingerprint alone. Throws DBellError
 * `disk-full`, `disk-error`, and what packLinear throws.
 */
export function writeBlockFile(filePath: string, block: QuantizedBlock, fingerprint: string): void {
  const entries: Record<string, TensorEntry> = {};
  const planned: PlannedTensor[] = [];
  const contents: Uint8Array[] = [];
  for (const linear of block.linears) {
    const entry = entryOf(linear);
    entries[linear.name] = entry;
    planned.push(...plannedTensors(linear.name, entry));
    contents.push(...packLinear(linear));
  }
  for (const [name, { shape, values }] of [...block.floatTensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const bad = packing.firstNonFinite(values);
    if (bad !== -1) throw new DBellError('unsupported-model', `${name}: value ${bad} is ${values[bad]}`);
    const entry = tensorEntrySchema.parse({ layout: 'float', shape, dtype: 'F32' });
    entries[name] = entry;
    planned.push(...plannedTensors(name, entry));
    contents.push(bytesOf(values));
  }
  const pieces = contents.map((bytes, index) => withPadding(bytes, planned[index]!));
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  const metadata: z.infer<typeof metadataSchema> = {
    version: blockFileVersion,
    fingerprint,
    index: block.index,
    sha256: hash.digest('hex'),
    entries,
    reports: block.reports,
  };
  const plan = planSafetensors(planned, { dbell: JSON.stringify(metadataSchema.parse(metadata)) });
  const file = new AtomicFile(filePath);
  file.write(plan.header);
  for (const piece of pieces) file.write(piece);
  file.commit();
}

function withPadding(bytes: Uint8Array, tensor: PlannedTensor): Uint8Array {
  const expected = valueBytesOf(tensor);
  if (bytes.length !== expected)
    throw new DBellError('internal', `${tensor.name}: ${bytes.length} bytes instead of ${expected}`);
  if (bytes.length === padded(bytes.length)) return bytes;
  const result = new Uint8Array(padded(bytes.length));
  result.set(bytes);
  return result;
}

/** Opens a block file and checks its structure; the data only with `checkBlockData`. Throws DBellError `invalid-checkpoint`. */
export function openBlockFile(filePath: string, name: string): BlockFile {
  const source = new FileSource(filePath, name);
  try {
    const { header, problems } = parseSafetensorsHeader(source);
    if (header === null || problems.hasErrors) throw damaged(name, problems.items[0]?.message ?? 'no header');
    let metadata: z.infer<typeof metadataSchema>;
    try {
      metadata = metadataSchema.parse(JSON.parse(header.metadata.get('dbell') ?? 'null'));
    } catch (cause) {
      throw damaged(name, 'its description cannot be read', cause);
    }
    return {
      index: metadata.index,
      entries: new Map(Object.entries(metadata.entries)),
      reports: metadata.reports,
      tensors: header.tensors,
      source,
      dataPosition: header.dataPosition,
      sha256: metadata.sha256,
      fingerprint: metadata.fingerprint,
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Compares the data with its hash. Throws DBellError `invalid-checkpoint`. */
export function checkBlockData(block: BlockFile): void {
  const hash = createHash('sha256');
  const chunk = new Uint8Array(checkChunkBytes);
  for (let position = block.dataPosition; position < block.source.size; position += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, block.source.size - position));
    block.source.readInto(position, part);
    hash.update(part);
  }
  if (hash.digest('hex') !== block.sha256) throw damaged(block.source.name, 'its bytes have changed');
}

function damaged(name: string, what: string, cause?: unknown): DBellError {
  return new DBellError(
    'invalid-checkpoint',
    `stored block ${name}: ${what}; delete the .partial folder and start again`,
    { cause },
  );
}
