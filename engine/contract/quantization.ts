import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  calibrationSourceSchema,
  contextSchema,
  countSchema,
  durationMsSchema,
  embeddingBitsSchema,
  floatDeviceSchema,
  identifierSchema,
  jsonObjectSchema,
  nameSchema,
  pathSchema,
  problemSchema,
  seedSchema,
  settingSchema,
  sha256Schema,
  storedEmbeddingBitsSchema,
  storedTableSchema,
  textSourceSchema,
  threadsSchema,
  windowCountSchema,
} from './common.ts';
import { limits } from './limits.ts';
import { benchmarkResultSchema, perplexityResultSchema } from './measurement.ts';
import { qualityResultSchema, qualitySettings, samplesInputSchema } from './quality.ts';

/** A recipe to choose from, as `recipes` lists it. */
export const recipeDescriptionSchema = z.object({
  name: nameSchema,
  summary: z.string(),
  nominalBitsPerWeight: z.number().nullable(),
  activationBits: activationBitsSchema,
  /** The whole recipe; its field names, joined by dots, are what `set` takes. */
  recipe: jsonObjectSchema,
});

/** What is to be quantized, and how; `estimate` and `quantize` share it. */
const quantizationSettings = {
  model: pathSchema,
  recipe: nameSchema,
  set: z.array(settingSchema).max(limits.settingCount).default([]),
  /** Default: the recipe's own. */
  activationBits: activationBitsSchema.optional(),
  embeddingBits: embeddingBitsSchema.default(16),
  windows: windowCountSchema.default(64),
  /** Tokens of a calibration window. Default: 2048, or the model's context length where that is shorter. */
  context: contextSchema.optional(),
  threads: threadsSchema.default(0),
  /** What runs the full-precision model and the matrix products of the calibration; the fits themselves are the processor's. */
  floatDevice: floatDeviceSchema.default('cpu'),
} as const;

/** One line of an estimate; names are stable, such as `hessians`. */
export const estimateItemSchema = z.object({ name: z.string(), bytes: z.number().nonnegative() });

export const recipeNoteSchema = z.object({ code: z.enum(['no-gguf-export']), message: z.string() });
export type RecipeNote = z.infer<typeof recipeNoteSchema>;

/** Notes as sentences, and why there can be no GGUF where none of them says it. */
export function notesInWords(
  notes: readonly RecipeNote[],
  gguf: { problem: string | null; asHalf: boolean },
): string[] {
  if (notes.length > 0 || gguf.problem === null) return notes.map(({ message }) => message);
  const wayOut = gguf.asHalf ? '; dequantized to 16 bits a weight it can (export --weights f16)' : '';
  return [`a package of this recipe cannot be exported to GGUF: ${gguf.problem}${wayOut}`];
}

export const estimateSchema = z.object({
  recipe: nameSchema,
  windows: countSchema,
  context: countSchema,
  /** The weight file, without tokenizer, config and card, which are copied. */
  packageBytes: z.number().nonnegative(),
  packageItems: z.array(estimateItemSchema),
  storedBitsPerWeight: z.number(),
  /**
   * The package exported as GGUF. `bytes` and `problem` are null where that depends on the values that the quantization finds; `problem` says why there can be none;
   * `asHalf`: there can be one of the dequantized weights.
   */
  gguf: z.object({ bytes: bytesSchema.nullable(), problem: z.string().nullable(), asHalf: z.boolean() }),
  /** Most resident memory of the work process. */
  peakMemoryBytes: z.number().nonnegative(),
  memoryItems: z.array(estimateItemSchema),
  /** Most disk in use at one time, checkpoint included. */
  diskBytes: z.number().nonnegative(),
  diskItems: z.array(estimateItemSchema),
  timeMs: z.object({
    low: durationMsSchema,
    expected: durationMsSchema,
    high: durationMsSchema,
    /** From the speed of one block of this model on this machine, or from a typical CPU's. */
    basis: z.enum(['measured', 'assumed']),
  }),
  /** What the machine has now. */
  availableMemoryBytes: bytesSchema.nullable(),
  availableDiskBytes: bytesSchema.nullable(),
  problems: z.array(problemSchema),
  /** What is to be known beforehand, though nothing is wrong with it. */
  notes: z.array(recipeNoteSchema),
});
export type Estimate = z.infer<typeof estimateSchema>;

/** Measurements that follow a quantization in the same job. */
export const followUpSchema = z.strictObject({
  /** Checks the package against the model that it is made from. */
  verify: z.boolean().default(false),
  perplexity: z
    .strictObject({
      text: textSourceSchema,
      context: contextSchema.optional(),
      windows: windowCountSchema.optional(),
    })
    .optional(),
  /** Compares the package with the model that it is made from. */
  quality: z
    .strictObject({ ...qualitySettings, samples: samplesInputSchema.nullable().default(null) })
    .optional(),
  benchmark: z.boolean().default(false),
  /** The benchmark measures the original too, the same way, in a process of its own. */
  benchmarkOriginal: z.boolean().default(false),
});

export const quantizeInputSchema = z.strictObject({
  ...quantizationSettings,
  calibration: calibrationSourceSchema,
  /** Windows are the first N of the text, or drawn with this seed; a text that the model writes itself is written with it (default 0). */
  seed: seedSchema.optional(),
  out: pathSchema,
  followUp: followUpSchema.optional(),
});
export type QuantizeInput = z.infer<typeof quantizeInputSchema>;

/** What is known of a linear as soon as it is quantized. */
export const layerErrorSchema = z.object({
  name: z.string(),
  /** tr((W−Q) H (W−Q)ᵀ) / tr(W H Wᵀ) over the layer's calibration inputs. */
  relativeError: z.number(),
  /** What had to be done beyond the recipe, in words. */
  notes: z.array(z.string()),
});

/** Histogram over equal bins from minimum to maximum. */
export const weightHistogramSchema = z.object({
  minimum: z.number(),
  maximum: z.number(),
  counts: z.array(countSchema).max(limits.chartPoints),
});
export type WeightHistogram = z.infer<typeof weightHistogramSchema>;

/** Training of one linear's T, in a few numbers; see engine/quantize/progress.ts. */
export const ltdbSummarySchema = z.object({
  lossCurve: z.array(z.number()).max(limits.chartPoints),
  /** Epoch of each entry of `lossCurve`. */
  epochs: z.array(countSchema).max(limits.chartPoints),
  blockCount: countSchema,
  meanEpochs: z.number().nonnegative(),
  /** Blocks that stopped because L_DTMD rose. */
  stoppedEarly: countSchema,
  keptStart: countSchema,
});
export type LtdbSummary = z.infer<typeof ltdbSummarySchema>;

/** What the pictures of a linear are drawn from; null where its recipe has no such thing. */
export const layerDetailSchema = layerErrorSchema.extend({
  ltdb: ltdbSummarySchema.nullable(),
  /** Weights as they were, after the transform, and as quantized. */
  histograms: z
    .object({
      original: weightHistogramSchema,
      transformed: weightHistogramSchema,
      quantized: weightHistogramSchema,
    })
    .nullable(),
  /** Largest magnitude that reached each group of neighbouring input channels, before and after the transform. */
  channelMaxima: z
    .object({
      channels: countSchema,
      before: z.array(z.number().nonnegative()).max(limits.chartPoints),
      after: z.array(z.number().nonnegative()).max(limits.chartPoints),
    })
    .nullable(),
});
export type LayerDetail = z.infer<typeof layerDetailSchema>;

/** Figures of one quantized linear. */
export const layerReportSchema = layerErrorSchema.extend({
  /** ‖W − Q‖² / ‖W‖². */
  weightRelativeError: z.number(),
});
export type LayerReport = z.infer<typeof layerReportSchema>;

/** How a calibration text was written that the model wrote itself. */
export const selfTextSchema = z.object({
  seed: countSchema,
  temperature: z.number(),
  topP: z.number(),
  /** Every second window is a conversation by the model's chat template. */
  hasConversations: z.boolean(),
});

export const verifyInputSchema = z.strictObject({
  package: pathSchema,
  /** The model that it was made from: its numbers are compared too. */
  against: pathSchema.optional(),
  /** Whether the history keeps it. */
  remember: z.boolean().default(true),
});
export type VerifyInput = z.infer<typeof verifyInputSchema>;

export const verifyResultSchema = z.object({
  ok: z.boolean(),
  problems: z.array(z.object({ code: z.string(), message: z.string() })),
  /** Such as an edited model card: nothing that is computed with depends on it. */
  warnings: z.array(z.string()),
  package: pathSchema,
  against: pathSchema.nullable(),
  checkedFiles: countSchema,
  checkedTensors: countSchema,
  checkedBytes: bytesSchema,
  runId: identifierSchema.nullable(),
});
export type VerifyResult = z.infer<typeof verifyResultSchema>;

/** What a quantization made, without what was measured of it. */
export const quantizedSchema = z.object({
  package: pathSchema,
  runId: identifierSchema,
  recipe: nameSchema,
  activationBits: activationBitsSchema,
  embeddingBits: storedEmbeddingBitsSchema,
  tables: z.array(storedTableSchema),
  /** 8 · stored bytes of the quantized linears / their weights. */
  storedBitsPerWeight: z.number(),
  /** The papers' figure; null where there is none. */
  nominalBitsPerWeight: z.number().nullable(),
  /** All files of the package: the weight file, tokenizer, config, quality and card. */
  bytes: bytesSchema,
  /** The weight file, model.safetensors, alone: what compares with `sourceBytes`. Absent in runs of versions that did not say it. */
  modelBytes: bytesSchema.optional(),
  /** The source's weight files; null, like the next two, where the run was killed just before it could report its end. */
  sourceBytes: bytesSchema.nullable(),
  /** VmHWM of the work process (the highest of them where the run was resumed). */
  peakRssBytes: bytesSchema.nullable(),
  /** Work time over all attempts, without the time between them. */
  durationMs: durationMsSchema.nullable(),
  blocks: countSchema,
  /** How often the run was taken up again. */
  resumedTimes: countSchema,
  /** Null for recipes that look at no text. */
  calibration: z
    .object({
      name: z.string(),
      textSha256: sha256Schema,
      windows: countSchema,
      context: countSchema,
      fingerprint: sha256Schema,
      self: selfTextSchema.optional(),
      /** What ran the full-precision model where that was not the processor. */
      computedBy: z.string().optional(),
    })
    .nullable(),
  /** Largest first. */
  worstLayers: z.array(layerReportSchema),
  meanRelativeError: z.number(),
  /** What single layers needed beyond the recipe, in words. */
  layerNotes: z.array(z.string()),
  warnings: z.array(z.string()),
});
export type Quantized = z.infer<typeof quantizedSchema>;

export const quantizeResultSchema = quantizedSchema.extend({
  /** Follow-ups; null where none was asked for. */
  verify: verifyResultSchema.nullable(),
  perplexity: perplexityResultSchema.nullable(),
  quality: qualityResultSchema.nullable(),
  benchmark: benchmarkResultSchema.nullable(),
});
export type QuantizeResult = z.infer<typeof quantizeResultSchema>;

const startedJobSchema = z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() });

export const quantizationCalls = {
  recipes: { input: z.strictObject({}), output: z.object({ recipes: z.array(recipeDescriptionSchema) }) },
  /** Bytes, memory, disk and time of a quantization, itemised. Times one block where `measureSpeed` is set; else reads headers only. */
  estimate: {
    input: z.strictObject({
      ...quantizationSettings,
      out: pathSchema.optional(),
      measureSpeed: z.boolean().default(true),
    }),
    output: estimateSchema,
  },
  /** Stored size of a model in every recipe, from headers alone; a recipe that does not fit the model is left out. */
  recipeSizes: {
    input: z.strictObject({ model: pathSchema, embeddingBits: quantizationSettings.embeddingBits }),
    output: z.object({
      sizes: z.array(
        z.object({
          recipe: nameSchema,
          packageBytes: z.number().nonnegative(),
          storedBitsPerWeight: z.number(),
        }),
      ),
    }),
  },
  /** Starts a job; everything that can be checked beforehand is checked before it is accepted. */
  quantize: { input: quantizeInputSchema, output: startedJobSchema },
  /** Takes up a stopped or killed run: OUT or OUT.partial. */
  resume: {
    input: z.strictObject({ path: pathSchema, threads: threadsSchema.optional() }),
    output: startedJobSchema,
  },
  /** What is wrong with a package is the job's result, not its error. */
  verify: { input: verifyInputSchema, output: startedJobSchema },
};
