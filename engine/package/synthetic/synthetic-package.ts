import { createHash } from 'node:crypto';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import type { SyntheticStorage } from '../../contract/measurement.ts';
import { writeFileAtomically } from '../../files/atomic.ts';
import { makeFolders } from '../../files/folders.ts';
import { canonicalJson } from '../../files/json.ts';
import type { ModelShape } from '../../model/model-shapes.ts';
import { SeededRandom } from '../../model/seeded-random.ts';
import type { Recipe } from '../../quantize/recipe.ts';
import {
  codeLayoutOf,
  type ExpectedEntry,
  expectedEntries,
  modelFileName,
  type PlannedTensor,
  planeCountOf,
  plannedTensors,
  tableGroupCount,
  valueBytesOf,
} from '../layout.ts';
import { modelCard } from '../model-card.ts';
import { bytesOf } from '../pack-linear.ts';
import { summariseQuality } from '../quality.ts';
import { planSafetensors } from '../safetensors-header.ts';
import { formatVersion, type QuantizationConfig, type TensorEntry } from '../schema.ts';
import { writeListedFile, writeModelFile } from '../written-files.ts';
import {
  codeDeviation,
  halfOf,
  randomBytePool,
  randomGridCodes,
  randomScales,
  randomTableLines,
  randomTableScales,
  repeated,
  syntheticSeed,
} from './random-values.ts';
import { byteLevelTokenizer, describeShape, shapeConfig, shapeParameters } from './synthetic-config.ts';

export const syntheticRecipeName = 'synthetic';

/** Says what it is wherever a recipe is shown: nothing was quantized. */
const recipe: Recipe = {
  name: syntheticRecipeName,
  transform: { kind: 'none' },
  binarizer: { kind: 'as-is' },
  compensation: { kind: 'none', damping: 0, hessian: 'per-stage' },
  activationBits: 8,
  activationScales: 'block',
  blockSize: 128,
  nominalBitsPerWeight: null,
};

const note = 'random weights: no model, no quality';

/**
 * Writes a package of a shape whose codes and scales are random, as fast as the disk takes it: for measuring speed and memory, which do not depend on what weights
 * are. It says so in its recipe, in every layer's notes and in its card. `folder` must not exist. Throws DBellError `disk-full`, `disk-error`.
 */
export async function writeSyntheticPackage(
  folder: string,
  shape: ModelShape,
  storage: SyntheticStorage,
  border: () => Promise<void> = async () => {},
): Promise<{ modelBytes: number }> {
  const config = shapeConfig(shape);
  const { architecture, family } = describeShape(shape);
  const entries = expectedEntries(architecture, family).map((expected) => ({
    expected,
    entry: entryFor(expected, storage),
  }));
  makeFolders(folder);
  const plan = planSafetensors(
    entries.flatMap(({ expected, entry }) => plannedTensors(expected.name, entry)),
    { format: 'pt' },
  );
  const random = new SeededRandom(syntheticSeed);
  const model = await writeModelFile(path.join(folder, modelFileName), plan, async ({ write, padTo }) => {
    for (const { expected, entry } of entries)
      for (const planned of plannedTensors(expected.name, entry)) {
        for (const piece of piecesOf(random, entry, planned)) write(piece);
        padTo(planned.name);
        await border();
      }
  });
  const files: QuantizationConfig['files'] = { [modelFileName]: model };
  for (const [name, content] of [
    ['tokenizer.json', byteLevelTokenizer()],
    ['tokenizer_config.json', { tokenizer_class: 'PreTrainedTokenizerFast' }],
  ] as const)
    files[name] = writeListedFile(folder, name, JSON.stringify(content));
  const quantization: QuantizationConfig = {
    quant_method: 'dbell',
    format_version: formatVersion,
    recipe,
    levels: storage.levels,
    activation_bits: recipe.activationBits,
    activation_scales: 'block',
    embedding_bits: storage.tables === 'grid' ? gridTableBits(storage.levels) : storage.tables,
    tied_head: shape.tiedHead,
    block_size: 128,
    tensors: Object.fromEntries(entries.map(({ expected, entry }) => [expected.name, entry])),
    files,
  };
  const configJson = canonicalJson({ ...config, quantization_config: quantization });
  writeFileAtomically(path.join(folder, 'config.json'), configJson);
  const modelBytes = model.bytes;
  const report = { relativeError: 1, weightRelativeError: 1, notes: [note] };
  const quality = summariseQuality({
    configSha256: createHash('sha256').update(configJson).digest('hex'),
    sourceFingerprint: createHash('sha256').update(canonicalJson({ shape, storage })).digest('hex'),
    license: null,
    calibration: { synthetic: true, note },
    reports: entries.flatMap(({ expected: { name, kind } }) =>
      kind === 'linear' ? [{ name, ...report }] : [],
    ),
    tableReports: entries.flatMap(({ expected: { name, kind } }) =>
      kind === 'table'
        ? [
            {
              name,
              method: 'rounded' as const,
              relativeError: null,
              weightRelativeError: null,
              notes: [note],
            },
          ]
        : [],
    ),
    tensors: quantization.tensors,
    nominalBitsPerWeight: null,
    parameters: shapeParameters(shape),
    modelBytes,
  });
  writeFileAtomically(path.join(folder, 'quality.json'), canonicalJson(quality));
  writeFileAtomically(path.join(folder, 'README.md'), modelCard({ quantization, quality, architecture }));
  return { modelBytes };
}

function gridTableBits(levels: SyntheticStorage['levels']): 1 | 2 | 4 {
  return planeCountOf(levels) as 1 | 2 | 4;
}

function entryFor(expected: ExpectedEntry, { levels, tables }: SyntheticStorage): TensorEntry {
  if (expected.kind === 'float') return { layout: 'float', shape: expected.shape, dtype: expected.dtype };
  const shape: [number, number] =
    expected.kind === 'table' ? expected.shape : [expected.linear.outFeatures, expected.linear.inFeatures];
  if (expected.kind === 'table' && tables !== 'grid') return { layout: 'table', shape, bits: tables };
  const codes = codeLayoutOf(levels, ...shape) === 'base-3' ? { codes: 'base-3' as const } : {};
  const grid = { shape, levels, planes: planeCountOf(levels), ...codes };
  if (expected.kind === 'table') return { layout: 'grid-table', ...grid };
  return {
    layout: 'grid',
    ...grid,
    offsets: false,
    column_scale: false,
    bias: expected.linear.bias !== null,
  };
}

/** Values that keep every layer's outputs about as large as its inputs. */
function* piecesOf(random: SeededRandom, entry: TensorEntry, planned: PlannedTensor): Generator<Uint8Array> {
  const bytes = valueBytesOf(planned);
  if (entry.layout === 'float') {
    yield entry.dtype === 'F32' ? bytesOf(new Float32Array(bytes / 4).fill(1)) : new Uint8Array(bytes);
    return;
  }
  const [rows, columns] = entry.shape;
  const isScale = planned.name.endsWith('.scales');
  const step = (levels: number): number => 1 / (Math.sqrt(columns) * codeDeviation(levels));
  if (entry.layout === 'grid' || entry.layout === 'grid-table') {
    if (isScale) yield randomScales(random, planned, rows, step(entry.levels));
    else if (planned.name.endsWith('.bias')) yield new Uint8Array(bytes);
    else yield* randomGridCodes(random, entry.levels, rows, columns);
  } else if (entry.layout === 'table') {
    const groups = tableGroupCount(columns);
    if (entry.bits === 16) {
      const values = [halfOf(1 / Math.sqrt(columns)), halfOf(-1 / Math.sqrt(columns))];
      const pool = Uint16Array.from(randomBytePool(random, 2), (sign) => values[sign] ?? 0);
      yield* repeated(bytesOf(pool), bytes);
    } else if (isScale)
      yield entry.bits === 8
        ? randomTableScales(random, planned, step(255))
        : randomScales(random, planned, rows, step(2 ** entry.bits));
    else if (entry.bits === 8) {
      if (columns % 32 !== 0)
        throw new DBellError('internal', `a table of 8 bits needs columns by 32, not ${columns}`);
      const pool = randomBytePool(random, 255).map((byte) => (byte - 127) & 255);
      yield* repeated(pool, bytes);
    } else yield* randomTableLines(random, entry.bits, rows, columns, groups);
  } else throw new DBellError('internal', `nothing random is made for ${entry.layout}`);
}
