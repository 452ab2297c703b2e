import type { z } from 'zod';
import { issueInWords } from '../contract/wording.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ByteSource } from '../model/byte-source.ts';
import { ConfigReader } from '../model/config-reader.ts';
import type { Family } from '../model/families/family.ts';
import { findFamily } from '../model/families/index.ts';
import { isRecord } from '../model/json.ts';
import { count, type ProblemList, quote, show } from '../model/problems.ts';
import { parseSafetensorsHeader } from '../model/safetensors.ts';
import {
  alignment,
  type ExpectedEntry,
  elementBytes,
  expectedEntries,
  modelFileName,
  planeCountOf,
  plannedTensors,
  storedShapeOf,
  valueBytesOf,
} from './layout.ts';
import {
  formatVersion,
  type QuantizationConfig,
  quantizationConfigSchema,
  type TensorEntry,
} from './schema.ts';
import type { PackedDtype, TensorLocation } from './types.ts';

/** `field: what is wrong with it` of the first issue that a schema found. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  const at = issue?.path.map(String).join('.') ?? '';
  return `${at === '' ? '' : `${at.length > 120 ? `${at.slice(0, 120)}…` : at}: `}${issue?.message ?? 'is not valid'}`;
}

/** `quantization_config` of a parsed config.json, or null with a problem recorded. */
export function readQuantizationConfig(
  config: Record<string, unknown>,
  problems: ProblemList,
): QuantizationConfig | null {
  const raw = config.quantization_config;
  if (!isRecord(raw)) {
    problems.error(
      'not-packed',
      raw === undefined
        ? 'config.json has no quantization_config; this is not a packed model'
        : `config.json: quantization_config is ${show(raw)}, not an object`,
    );
    return null;
  }
  if (raw.quant_method !== 'dbell') {
    problems.error(
      'not-packed',
      `config.json: quant_method is ${show(raw.quant_method)}; only packages of DBell Studio ("dbell") can be opened here`,
    );
    return null;
  }
  const version = raw.format_version;
  if (typeof version === 'number' && Number.isInteger(version) && version > formatVersion) {
    problems.error(
      'newer-version',
      `the package is in format version ${version}, this program reads up to version ${formatVersion}; update DBell Studio`,
    );
    return null;
  }
  const parsed = quantizationConfigSchema.safeParse(raw, { error: issueInWords });
  if (parsed.success) return parsed.data;
  problems.error('config-damaged', `config.json: quantization_config: ${firstIssue(parsed.error)}`);
  return null;
}

/** The architecture that config.json describes, head decided by `tied_head`; null with problems recorded. */
export function describePackage(
  config: Record<string, unknown>,
  quantization: QuantizationConfig,
  generationConfig: Record<string, unknown> | null,
  problems: ProblemList,
): { architecture: Architecture; family: Family } | null {
  const { quantization_config: _, ...own } = config;
  const reader = new ConfigReader(own, problems);
  const family = findFamily(reader);
  const described = family === null ? null : family.describe(reader);
  if (family === null || described === null) return null;
  if (config.tie_word_embeddings !== quantization.tied_head) {
    problems.error(
      'config-contradiction',
      `config.json: tie_word_embeddings is ${show(config.tie_word_embeddings)} but quantization_config.tied_head is ${quantization.tied_head}`,
    );
    return null;
  }
  const architecture = quantization.tied_head
    ? described
    : { ...described, head: { ...described.head, weight: family.headWeight, tied: false } };
  if (generationConfig !== null) {
    const generation = new ConfigReader(generationConfig, problems, 'generation_config.json');
    const ids = generation.tokenIds('eos_token_id', architecture.vocabularySize);
    if (generation.failed) return null;
    architecture.endOfTextIds = [...new Set([...architecture.endOfTextIds, ...ids])].sort((a, b) => a - b);
  }
  return { architecture, family };
}

/**
 * Fits `quantization_config.tensors` to the architecture: everything that it needs is there in the right shape, and nothing else. Returns the
 * entries in the order of the blocks, or null with problems recorded.
 */
export function fitEntries(
  architecture: Architecture,
  family: Family,
  quantization: QuantizationConfig,
  problems: ProblemList,
): { expected: ExpectedEntry; entry: TensorEntry }[] | null {
  const errorsBefore = problems.errorCount;
  const fitted: { expected: ExpectedEntry; entry: TensorEntry }[] = [];
  const known = new Set<string>();
  for (const expected of expectedEntries(architecture, family)) {
    known.add(expected.name);
    const entry = Object.hasOwn(quantization.tensors, expected.name)
      ? quantization.tensors[expected.name]
      : undefined;
    if (entry === undefined) {
      problems.error(
        'entry-missing',
        `config.json: quantization_config.tensors lacks ${quote(expected.name)}`,
      );
      continue;
    }
    const fault = entryFault(expected, entry, quantization);
    if (fault === null) fitted.push({ expected, entry });
    else
      problems.error(
        'entry-wrong',
        `config.json: quantization_config.tensors ${quote(expected.name)}: ${fault}`,
      );
  }
  for (const name of Object.keys(quantization.tensors))
    if (!known.has(name))
      problems.error(
        'entry-extra',
        `config.json: quantization_config.tensors has ${quote(name)}, which a ${architecture.modelType} model of this size has no place for`,
      );
  const scalesFault = activationScalesFault(quantization);
  if (scalesFault !== null)
    problems.error(
      'config-contradiction',
      `config.json: quantization_config.activation_scales ${scalesFault}`,
    );
  return problems.errorCount > errorsBefore ? null : fitted;
}

const possibleLayouts: Readonly<Record<ExpectedEntry['kind'], readonly TensorEntry['layout'][]>> = {
  linear: ['grid', 'structured'],
  table: ['table', 'grid-table'],
  float: ['float'],
};

function entryFault(
  expected: ExpectedEntry,
  entry: TensorEntry,
  quantization: QuantizationConfig,
): string | null {
  const wanted =
    expected.kind === 'linear' ? [expected.linear.outFeatures, expected.linear.inFeatures] : expected.shape;
  const layouts = possibleLayouts[expected.kind];
  if (!layouts.includes(entry.layout))
    return `layout is ${quote(entry.layout)}, expected ${layouts.join(' or ')}`;
  if (entry.shape.join() !== wanted.join())
    return `shape is [${entry.shape.join(', ')}] but config.json implies [${wanted.join(', ')}]`;
  const isGrid = entry.layout === 'grid' || entry.layout === 'grid-table';
  if (isGrid && entry.planes !== planeCountOf(entry.levels))
    return `${entry.levels} levels take ${planeCountOf(entry.levels)} planes, not ${entry.planes}`;
  if (isGrid && entry.codes === 'base-3' && entry.levels !== 3)
    return `codes are in base 3 but there are ${entry.levels} levels`;
  if (entry.layout === 'grid' && (entry.residual_columns ?? 0) > entry.shape[1])
    return `residual_columns is ${entry.residual_columns} but there are ${entry.shape[1]} columns`;
  if (entry.layout === 'grid' && entry.row_scale && entry.residual_columns !== undefined)
    return 'row_scale and residual_columns exclude each other';
  if (expected.kind === 'linear' && (entry.layout === 'grid' || entry.layout === 'structured')) {
    const biased = expected.linear.bias !== null;
    if (entry.bias !== biased) return `bias is ${entry.bias} but config.json implies ${biased}`;
  }
  if (entry.layout === 'table' && entry.bits !== quantization.embedding_bits)
    return `bits is ${entry.bits} but embedding_bits is ${quantization.embedding_bits}`;
  if (entry.layout === 'grid-table' && entry.planes !== quantization.embedding_bits)
    return `planes is ${entry.planes} but embedding_bits is ${quantization.embedding_bits}`;
  if (expected.kind === 'float' && entry.layout === 'float' && entry.dtype !== expected.dtype)
    return `dtype is ${entry.dtype}, expected ${expected.dtype}`;
  return null;
}

/** What is wrong with how activations are said to be rounded: no device has steps by block for other layouts, and the recipe must say the same. */
function activationScalesFault(quantization: QuantizationConfig): string | null {
  const { recipe, tensors, activation_scales: scales } = quantization;
  const field = scales === undefined ? 'is absent, which means by token,' : `is ${quote(scales)}`;
  const ofRecipe = recipe.activationScales;
  if (ofRecipe !== undefined && ofRecipe !== (scales ?? 'token'))
    return `${field} but recipe.activationScales is ${quote(ofRecipe)}`;
  if (scales === undefined) return null;
  for (const [name, entry] of Object.entries(tensors)) {
    if (entry.layout === 'structured')
      return `${field} but ${quote(name)} is structured; steps by block are for grids without residual columns`;
    if (entry.layout === 'grid' && entry.residual_columns !== undefined)
      return `${field} but ${quote(name)} has residual columns; steps by block are for grids without them`;
  }
  return null;
}

/**
 * Locates every tensor in model.safetensors and checks type, shape, length and alignment, and that there are no others. Returns locations by tensor
 * name, or null with problems recorded.
 */
export function locateTensors(
  file: ByteSource,
  entries: readonly { expected: ExpectedEntry; entry: TensorEntry }[],
  problems: ProblemList,
): Map<string, TensorLocation> | null {
  const errorsBefore = problems.errorCount;
  const parsed = parseSafetensorsHeader(file);
  problems.addAll(parsed.problems);
  if (parsed.header === null || problems.errorCount > errorsBefore) return null;
  const { tensors, dataPosition } = parsed.header;
  if (dataPosition % alignment !== 0)
    problems.error(
      'misaligned',
      `${modelFileName}: the data begin at byte ${count(dataPosition)}, which is no multiple of ${alignment}`,
    );
  const locations = new Map<string, TensorLocation>();
  for (const { expected, entry } of entries)
    for (const planned of plannedTensors(expected.name, entry)) {
      const stored = tensors.get(planned.name);
      if (stored === undefined) {
        problems.error('tensor-missing', `${modelFileName}: tensor ${quote(planned.name)} is missing`);
        continue;
      }
      const shape = storedShapeOf(planned);
      if (stored.storedType !== planned.dtype || stored.shape.join() !== shape.join()) {
        problems.error(
          'tensor-shape',
          `${modelFileName}: tensor ${quote(planned.name)} is ${stored.storedType} [${stored.shape.join(', ')}], expected ${planned.dtype} [${shape.join(', ')}]`,
        );
        continue;
      }
      if (stored.position % alignment !== 0) {
        problems.error(
          'misaligned',
          `${modelFileName}: tensor ${quote(planned.name)} begins at byte ${count(stored.position)}, which is no multiple of ${alignment}`,
        );
        continue;
      }
      locations.set(planned.name, {
        name: planned.name,
        dtype: planned.dtype as PackedDtype,
        shape: planned.shape,
        offset: stored.position,
        valueBytes: valueBytesOf(planned),
        byteLength: shape.reduce((product, size) => product * size, elementBytes[planned.dtype]),
      });
    }
  for (const name of tensors.keys()) {
    if (!locations.has(name) && problems.errorCount === errorsBefore)
      problems.error(
        'tensor-extra',
        `${modelFileName}: tensor ${quote(name)} belongs to nothing in config.json`,
      );
  }
  return problems.errorCount > errorsBefore ? null : locations;
}
