import { z } from 'zod';
import {
  bytesSchema,
  countSchema,
  identifierSchema,
  jsonObjectSchema,
  nameSchema,
  pathSchema,
  timeSchema,
} from './common.ts';
import { errorPayloadSchema } from './error-payload.ts';
import { limits } from './limits.ts';
import { layerReportSchema } from './quantization.ts';

/** What a run did. A quantization and the measurements that follow it in the same job are one run. */
export const runKindSchema = z.enum(['quantize', 'verify', 'perplexity', 'quality', 'benchmark']);
export type RunKind = z.infer<typeof runKindSchema>;

/** `interrupted`: its service ended without a word; like `stopped` and `failed` it may be resumable. */
export const runStateSchema = z.enum(['running', 'finished', 'failed', 'stopped', 'interrupted']);
export type RunState = z.infer<typeof runStateSchema>;

/** A row of the table of runs. */
export const runSummarySchema = z.object({
  runId: identifierSchema,
  kind: runKindSchema,
  state: runStateSchema,
  createdAt: timeSchema,
  /** Null while it runs. */
  endedAt: timeSchema.nullable(),
  /** Name of the model's folder or file. */
  modelName: z.string(),
  /** Of the full-precision model, a package's source included: what makes runs comparable. Null where it is not known. */
  modelFingerprint: z.string().nullable().default(null),
  recipe: z.string().nullable(),
  activationBits: countSchema.nullable(),
  /** Figures by name, with the unit in the name: `perplexity`, `storedBitsPerWeight`, `bytes`, `peakRssBytes`, `decodeTokensPerSecond` … */
  metrics: z.record(z.string(), z.number()),
  tags: z.array(nameSchema),
  note: z.string().max(limits.noteLength),
});
export type RunSummary = z.infer<typeof runSummarySchema>;

export const artifactSchema = z.object({
  /** `package`, `report` … */
  kind: z.string(),
  path: pathSchema,
  bytes: bytesSchema.nullable(),
});

/** Everything that is known of a run. */
export const runDetailSchema = runSummarySchema.extend({
  modelPath: z.string(),
  /** Of the package that was made or measured, wherever it lies now. Null where there is none or it is not known. */
  packageFingerprint: z.string().nullable().default(null),
  /** What was asked for. */
  settings: jsonObjectSchema,
  /** Machine and versions. */
  environment: jsonObjectSchema,
  /** Whole results by kind: `quantize`, `verify`, `perplexity`, `quality`, `benchmark`. */
  results: jsonObjectSchema,
  layers: z.array(layerReportSchema),
  artifacts: z.array(artifactSchema),
  error: errorPayloadSchema.nullable(),
});
export type RunDetail = z.infer<typeof runDetailSchema>;

export const sortKeySchema = z.enum([
  'createdAt',
  'endedAt',
  'kind',
  'state',
  'modelName',
  'recipe',
  'perplexity',
  'perplexityRatio',
  'storedBitsPerWeight',
  'bytes',
  'modelBytes',
  'peakRssBytes',
  'decodeTokensPerSecond',
]);

export const historyListInputSchema = z.strictObject({
  kind: runKindSchema.optional(),
  state: runStateSchema.optional(),
  recipe: nameSchema.optional(),
  tag: nameSchema.optional(),
  /** Found in model, recipe, note or tags. */
  text: z.string().max(limits.nameLength).optional(),
  sortBy: sortKeySchema.default('createdAt'),
  descending: z.boolean().default(true),
  limit: z.number().int().min(1).max(limits.pageRows).default(50),
  offset: z.number().int().min(0).default(0),
});
export type HistoryListInput = z.infer<typeof historyListInputSchema>;

/** One thing in which compared runs differ, or a condition that makes them unlike. `values` are in the order of the runs. */
export const runDifferenceSchema = z.object({
  group: z.enum(['settings', 'conditions', 'metrics']),
  field: z.string(),
  values: z.array(z.json()),
  /** Why the values must not be compared as they stand, in words; null where they may. */
  warning: z.string().nullable().default(null),
});

export const exportFormatSchema = z.enum(['json', 'markdown', 'html']);

const runIdsSchema = z.array(identifierSchema).min(1).max(limits.selectionRuns);

export const historyCalls = {
  'history.list': {
    input: historyListInputSchema,
    output: z.object({ runs: z.array(runSummarySchema), total: countSchema }),
  },
  'history.show': {
    input: z.strictObject({ runId: identifierSchema }),
    output: z.object({
      run: runDetailSchema,
      /** Of a quantization: what was measured of its package by runs of their own, newest first. Empty for other runs. */
      measurements: z.array(runDetailSchema),
      /** Of a measurement: the quantization that made the measured package, where the history knows it. */
      madeBy: runSummarySchema.nullable(),
    }),
  },
  /** A quantization that measured nothing itself stands with what was measured of its package later. */
  'history.compare': {
    input: z.strictObject({ runIds: z.array(identifierSchema).min(2).max(limits.compareRuns) }),
    output: z.object({
      runs: z.array(runDetailSchema),
      differences: z.array(runDifferenceSchema),
      /** Unlike conditions, in words. */
      warnings: z.array(z.string()),
    }),
  },
  /** Hidden at once, gone for good after the next deletion but some; until then `history.undo` brings them back. */
  'history.delete': {
    input: z.strictObject({ runIds: runIdsSchema }),
    output: z.object({ deleted: countSchema }),
  },
  /** Takes back the last deletion. */
  'history.undo': {
    input: z.strictObject({}),
    output: z.object({ restored: z.array(identifierSchema) }),
  },
  'history.annotate': {
    input: z.strictObject({
      runId: identifierSchema,
      note: z.string().max(limits.noteLength).optional(),
      tags: z.array(nameSchema).max(64).optional(),
    }),
    output: z.object({ run: runDetailSchema }),
  },
  /** All runs or those given, written to a file. */
  'history.export': {
    input: z.strictObject({
      path: pathSchema,
      format: exportFormatSchema.default('json'),
      runIds: runIdsSchema.optional(),
    }),
    output: z.object({ path: pathSchema, runs: countSchema, bytes: bytesSchema }),
  },
  /**
   * Adds the runs of an exported JSON file, in one transaction. A file that cannot be read whole, is damaged or of a newer version is refused whole
   * (`invalid-input`).
   */
  'history.import': {
    input: z.strictObject({ path: pathSchema }),
    output: z.object({
      imported: countSchema,
      /** Were there already, deleted ones too, and stay as they are here. */
      known: countSchema,
      /** Share their id with another run. */
      refused: countSchema,
      /** The first of the refused. */
      refusals: z.array(z.object({ runId: identifierSchema, reason: z.string() })),
    }),
  },
};
