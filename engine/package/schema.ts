import { z } from 'zod';
import {
  calibrationTextMarkSchema,
  embeddingBitsSchema,
  measuredActivationScalesSchema,
  storedEmbeddingBitsSchema,
} from '../contract/common.ts';
import { qualityFiguresSchema } from '../contract/quality.ts';
import { activationBitsSchema, recipeSchema } from '../quantize/recipe.ts';

/** Version of the packed format that this program writes, and the newest that it reads (docs/format.md). */
export const formatVersion = 1;

const count = z.int().min(0);
const extent = z.int().min(1);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');

const gridEntrySchema = z.strictObject({
  layout: z.literal('grid'),
  /** `[out, in]`. */
  shape: z.tuple([extent, extent]),
  levels: z.int().min(2).max(256),
  planes: z.int().min(1).max(8),
  /** Absent: bit planes. */
  codes: z.literal('base-3').optional(),
  offsets: z.boolean(),
  /** Columns that have a residual; absent: none. */
  residual_columns: extent.optional(),
  column_scale: z.boolean(),
  /** Stands there only where the linear has one. */
  row_scale: z.literal(true).optional(),
  bias: z.boolean(),
});
const structuredEntrySchema = z.strictObject({
  layout: z.literal('structured'),
  shape: z.tuple([extent, extent]),
  planes: z.literal(2),
  column_scale: z.boolean(),
  bias: z.boolean(),
});
/** Embedding table or LM head. */
const tableEntrySchema = z.strictObject({
  layout: z.literal('table'),
  shape: z.tuple([extent, extent]),
  bits: embeddingBitsSchema,
});
/** The same as a grid of few levels, codes and scales as those of a grid linear. */
const gridTableEntrySchema = z.strictObject({
  layout: z.literal('grid-table'),
  shape: z.tuple([extent, extent]),
  levels: z.literal([2, 3, 4, 16]),
  planes: z.int().min(1).max(4),
  /** Absent: bit planes. */
  codes: z.literal('base-3').optional(),
});
/** Everything else: norms, biases, learned positions, projections. */
const floatEntrySchema = z.strictObject({
  layout: z.literal('float'),
  shape: z.array(extent).min(1).max(2),
  dtype: z.enum(['F32', 'F16']),
});

/** What a name in `quantization_config.tensors` stands for: a quantized linear's module name or a float tensor's name. */
export const tensorEntrySchema = z.discriminatedUnion('layout', [
  gridEntrySchema,
  structuredEntrySchema,
  tableEntrySchema,
  gridTableEntrySchema,
  floatEntrySchema,
]);

/** `quantization_config` of a package's config.json. */
export const quantizationConfigSchema = z.strictObject({
  quant_method: z.literal('dbell'),
  format_version: z.literal(formatVersion),
  recipe: recipeSchema,
  /** Levels of the grid linears where they all agree, else null. */
  levels: z.int().min(2).max(256).nullable(),
  activation_bits: activationBitsSchema,
  /** Left out where steps are by token, as in packages from before there was a choice. */
  activation_scales: z.literal('block').optional(),
  /** Of grid tables: their planes. */
  embedding_bits: storedEmbeddingBitsSchema,
  /** True where the LM head is the embedding table. */
  tied_head: z.boolean(),
  /** Columns that share a scale. */
  block_size: z.literal(128),
  tensors: z.record(z.string(), tensorEntrySchema),
  /** Size and SHA-256 of every file except config.json, quality.json and README.md. */
  files: z.record(z.string(), z.strictObject({ bytes: count, sha256 })),
});

const layerQualitySchema = z.strictObject({
  name: z.string(),
  relativeError: z.number(),
  targetRelativeError: z.number().optional(),
  weightRelativeError: z.number(),
  notes: z.array(z.string()),
  weights: count,
  storedBytes: count,
  /** 8 · storedBytes / weights. */
  storedBitsPerWeight: z.number(),
});

/** Embedding table or LM head. */
const tableQualitySchema = z.strictObject({
  name: z.string(),
  /** `rounded`, or `compensated`: fitted to the metric of the head's inputs (method.md section 9). */
  method: z.enum(['rounded', 'compensated']),
  /** tr(E M Eᵀ) / tr(W M Wᵀ); null where nothing was compensated. */
  relativeError: z.number().nullable(),
  /** ‖E‖² / ‖W‖²; null at 16 and 8 bits, whose values follow from the source's. */
  weightRelativeError: z.number().nullable(),
  notes: z.array(z.string()),
  weights: count,
  storedBytes: count,
  storedBitsPerWeight: z.number(),
});

export const perplexityEntrySchema = z.strictObject({
  perplexity: z.number().positive(),
  tokens: extent,
  context: extent,
  windows: extent,
  textName: z.string(),
  textSha256: sha256,
  isCalibrationText: calibrationTextMarkSchema,
  activationBits: activationBitsSchema,
  activationScales: measuredActivationScalesSchema,
});

/** A comparison with the original; the fingerprint is that of the model it was compared with. */
export const comparisonEntrySchema = qualityFiguresSchema.extend({ originalFingerprint: sha256 });

/** quality.json. */
export const packageQualitySchema = z.strictObject({
  formatVersion: z.literal(formatVersion),
  /** SHA-256 of this file's canonical JSON without this member (quality.ts). */
  selfSha256: sha256,
  /** SHA-256 of config.json, which in turn holds the hashes of the other files. */
  configSha256: sha256,
  sourceFingerprint: sha256,
  /** As the source names it. */
  license: z.string().nullable(),
  calibration: z.record(z.string(), z.unknown()),
  layers: z.array(layerQualitySchema),
  /** Absent in packages of versions that had no tables of 6 and 4 bits. */
  tables: z.array(tableQualitySchema).optional(),
  linears: z.strictObject({
    weights: count,
    storedBytes: count,
    storedBitsPerWeight: z.number(),
    nominalBitsPerWeight: z.number().nullable(),
  }),
  total: z.strictObject({
    parameters: count,
    /** Size of model.safetensors. */
    modelBytes: count,
    /** 8 · modelBytes / parameters. */
    storedBitsPerParameter: z.number(),
  }),
  perplexities: z.array(perplexityEntrySchema),
  /** Absent until there is one. */
  comparisons: z.array(comparisonEntrySchema).optional(),
});

export type TensorEntry = z.infer<typeof tensorEntrySchema>;
export type QuantizationConfig = z.infer<typeof quantizationConfigSchema>;
export type PackageQuality = z.infer<typeof packageQualitySchema>;
export type TableQuality = z.infer<typeof tableQualitySchema>;
export type LayerQuality = z.infer<typeof layerQualitySchema>;
export type ComparisonEntry = z.infer<typeof comparisonEntrySchema>;
export type PerplexityEntry = z.infer<typeof perplexityEntrySchema>;
