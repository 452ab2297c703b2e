import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  calibrationTextMarkSchema,
  contextSchema,
  countSchema,
  deviceSchema,
  documentSeparatorSchema,
  durationMsSchema,
  embeddingBitsSchema,
  identifierSchema,
  itemisedBytesSchema,
  jsonObjectSchema,
  keyValueCacheSchema,
  measuredActivationScalesSchema,
  nameSchema,
  pathSchema,
  sha256Schema,
  textSourceSchema,
  threadsSchema,
  usedKeyValueCacheSchema,
  windowCountSchema,
} from './common.ts';
import { errorPayloadSchema } from './error-payload.ts';
import { limits } from './limits.ts';

export const perplexityInputSchema = z.strictObject({
  /** Folder, .gguf file or package. */
  model: pathSchema,
  text: textSourceSchema,
  /** Tokens of a window. Default: 2048, or the model's context length where that is shorter. */
  context: contextSchema.optional(),
  /** Default: as many as the text has. */
  windows: windowCountSchema.optional(),
  documentSeparator: documentSeparatorSchema.default('default'),
  activationBits: activationBitsSchema.optional(),
  /** Of packages on the CPU. Default: f32. */
  keyValueCache: keyValueCacheSchema.optional(),
  device: deviceSchema.default('cpu'),
  threads: threadsSchema.default(0),
  /** Whether the history keeps it. */
  remember: z.boolean().default(true),
});
export type PerplexityInput = z.infer<typeof perplexityInputSchema>;

export const perplexityResultSchema = z.object({
  model: pathSchema,
  /** Of a package; null for a model in full precision. */
  recipe: z.string().nullable().optional(),
  /** exp of the mean loss over all scored positions; null where it is not finite. */
  perplexity: z.number().nonnegative().nullable(),
  /** Natural logarithm; null where a loss was not finite. */
  meanLossNats: z.number().nullable(),
  /** From the spread of the windows' means; null below two windows. */
  standardErrorNats: z.number().nullable(),
  /** Scored positions: windows · (context − 1). */
  tokens: countSchema,
  context: countSchema,
  windows: countSchema,
  textName: z.string(),
  textSha256: sha256Schema,
  isCalibrationText: calibrationTextMarkSchema,
  separatorId: countSchema.nullable(),
  activationBits: activationBitsSchema,
  keyValueCache: usedKeyValueCacheSchema,
  activationScales: measuredActivationScalesSchema,
  kernelPath: z.string(),
  device: z.string(),
  durationMs: durationMsSchema,
  peakRssBytes: bytesSchema,
  runId: identifierSchema.nullable(),
});
export type PerplexityResult = z.infer<typeof perplexityResultSchema>;

const ranOnSchema = z.object({ device: z.string() });

/** The device that a measurement's result names where it is not the CPU; null else, and where the result names none. */
export function deviceBesidesCpu(result: unknown): string | null {
  const device = ranOnSchema.safeParse(result).data?.device ?? 'cpu';
  return device === 'cpu' ? null : device;
}

const lengthListSchema = (minimum: number) =>
  z.array(z.number().int().min(minimum).max(limits.contextTokens)).min(1).max(limits.lengthListEntries);

/** How one subject is measured. */
export const benchmarkSettingsSchema = z.strictObject({
  model: pathSchema,
  device: deviceSchema.default('cpu'),
  threads: threadsSchema.default(0),
  /** Prefill lengths in tokens. Lengths beyond the model's context are left out, visibly. */
  promptTokens: lengthListSchema(1).default([128, 512]),
  /** Tokens in the cache before decoding is timed. */
  decodeDepths: lengthListSchema(0).default([0, 256]),
  generateTokens: z.number().int().min(1).max(limits.generateTokens).default(64),
  repetitions: z.number().int().min(1).max(limits.repetitions).default(5),
  activationBits: activationBitsSchema.optional(),
  /** Of packages on the CPU. Default: f32. */
  keyValueCache: keyValueCacheSchema.optional(),
});
export type BenchmarkSettings = z.infer<typeof benchmarkSettingsSchema>;

/** How the random weights of a shape are stored. */
export const syntheticStorageSchema = z.strictObject({
  /** Of every linear: 1 bit, base 3, 2 bits, 4 bits. */
  levels: z.literal([2, 3, 4, 16]).default(2),
  /** Embedding and head: the same grid as the linears, or a table of so many bits. */
  tables: z.union([z.literal('grid'), embeddingBitsSchema]).default('grid'),
});
export type SyntheticStorage = z.infer<typeof syntheticStorageSchema>;

/** A shape whose weights are random: its speed is that of a model which need not be downloaded, its quality is nothing. */
export const syntheticModelSchema = syntheticStorageSchema.extend({ shape: nameSchema });
export type SyntheticModel = z.infer<typeof syntheticModelSchema>;

/** Another program that runs the same model, or one of the same shape, beside ours. */
export const peerRequestSchema = z.strictObject({
  engine: z.enum(['onnxruntime', 'llama.cpp']),
  /**
   * onnxruntime: float32, int8, int4. llama.cpp: a type of ggml's, then with random weights of the same shape. Default: onnxruntime's int4; for llama.cpp the package as it is
   * exported, for a shape the type of as many bits.
   */
  type: nameSchema.optional(),
});
export type PeerRequest = z.infer<typeof peerRequestSchema>;

export const benchmarkInputSchema = benchmarkSettingsSchema.extend({
  /** Folder, .gguf file or package; absent where a shape is given. */
  model: pathSchema.optional(),
  synthetic: syntheticModelSchema.optional(),
  /** Measured in turns with the model, each in a process of its own. Of packages and shapes. */
  peers: z.array(peerRequestSchema).max(limits.benchmarkPeers).default([]),
  /** A second subject, measured the same way in a process of its own: usually the model in full precision. */
  baseline: pathSchema.optional(),
  /** Whether the history keeps it. */
  remember: z.boolean().default(true),
});
export type BenchmarkInput = z.infer<typeof benchmarkInputSchema>;

/** How fast the machine's memory is read in order: what bounds decoding. */
export const memoryBandwidthSchema = z.object({
  bytesPerSecond: z.number().positive(),
  /** How it was measured, in words. */
  method: z.string(),
  bufferBytes: bytesSchema,
  passes: countSchema,
  threads: countSchema,
  /** Of the processor's last cache; null where the system does not tell. */
  lastLevelCacheBytes: bytesSchema.nullable(),
  /** Where it was measured in turns with subjects: each turn's, of which `bytesPerSecond` is the median. */
  turnsBytesPerSecond: z.array(z.number().positive()).optional(),
});
export type MemoryBandwidth = z.infer<typeof memoryBandwidthSchema>;

/** The most int8 operations that this machine does with an instruction set. */
export const int8PeakSchema = z.object({
  kernels: z.string(),
  /** A product that is added is two. */
  operationsPerSecond: z.number().positive(),
  threads: countSchema,
  /** What was measured, such as `vpdpbusd zmm`. */
  instruction: z.string(),
});
export type Int8Peak = z.infer<typeof int8PeakSchema>;

/** One kernel by itself on matrices of random codes. */
export const kernelTableRowSchema = z.object({
  kernels: z.string(),
  /** How codes are stored, in words. */
  storage: z.string(),
  threads: countSchema,
  tokens: countSchema,
  rows: countSchema,
  columns: countSchema,
  /** Of one matrix. */
  microseconds: z.number().positive(),
  bytesPerSecond: z.number().positive(),
  /** Of the measured read bandwidth; above 1 where the matrices lie in a cache. */
  bandwidthShare: z.number().nonnegative(),
  operationsPerSecond: z.number().positive(),
  /** Of the set's measured int8 peak. */
  peakShare: z.number().nonnegative(),
});
export type KernelTableRow = z.infer<typeof kernelTableRowSchema>;

export const kernelTableSchema = z.object({
  rows: z.array(kernelTableRowSchema),
  /** For each set and number of threads. */
  peaks: z.array(int8PeakSchema),
  /** For each number of threads. */
  bandwidth: z.array(memoryBandwidthSchema),
  /** The set that runs packages here unless another is forced. */
  chosen: z.string(),
});
export type KernelTable = z.infer<typeof kernelTableSchema>;

/** Of a device with memory of its own. Times of kernels are by its own clock, medians; empty where it has none that tells. */
export const deviceTimesSchema = z.object({
  /** From the first weight handed over to the last one there. */
  uploadMs: durationMsSchema,
  /** By prompt length: all kernels of a prefill. */
  prefillKernelMs: z.record(z.string(), durationMsSchema),
  /** By depth: all kernels of one decoded token. */
  decodeKernelMs: z.record(z.string(), durationMsSchema),
});

/** Parts of a model that one kernel runs. */
export const layerPathSchema = z.object({
  /** Instruction set and how the weights are stored. */
  path: z.string(),
  layers: countSchema,
  bytes: bytesSchema,
});
export type LayerPath = z.infer<typeof layerPathSchema>;

/** Figures of one subject. Speeds are medians over the repetitions, keys are token counts. */
export const benchmarkSubjectSchema = z.object({
  model: pathSchema,
  /** Of a package; null for a model in full precision. */
  recipe: z.string().nullable().optional(),
  prefillTokensPerSecond: z.record(z.string(), z.number()),
  decodeTokensPerSecond: z.record(z.string(), z.number()),
  timeToFirstTokenMs: durationMsSchema,
  tokenLatencyMs: z.object({ p50: durationMsSchema, p95: durationMsSchema, p99: durationMsSchema }),
  loadMs: durationMsSchema,
  /** Loading and the very first prefill after it, of the shortest prompt, nothing warmed up. */
  openToFirstToken: z.object({ promptTokens: countSchema, durationMs: durationMsSchema }).optional(),
  /** Reading the weight file of a package once, in order, before it was loaded: from the page cache where it lay there. */
  fileReadMs: durationMsSchema.optional(),
  peakRssBytes: bytesSchema,
  memoryBytes: itemisedBytesSchema,
  modelBytes: bytesSchema,
  /** By depth: what one token of those decoded there reads from memory at least, on average, itemised (docs/method.md). Empty in results of older versions. */
  bytesReadPerToken: z.record(z.string(), itemisedBytesSchema).default({}),
  /** Measured in a process of its own, before the subjects or in turns with them; null where it was not. */
  memoryBandwidth: memoryBandwidthSchema.nullable().default(null),
  /** By depth: decode speed · bytes read per token / bandwidth. A depth is left out where what is read fits the last cache. */
  memoryBandwidthShare: z.record(z.string(), z.number().nonnegative()).default({}),
  /** Null for the processor. */
  deviceTimes: deviceTimesSchema.nullable().default(null),
  device: z.string(),
  kernelPath: z.string(),
  /** Of a package: the kernels that its layers took. */
  layerPaths: z.array(layerPathSchema).optional(),
  activationBits: activationBitsSchema,
  keyValueCache: usedKeyValueCacheSchema,
  activationScales: measuredActivationScalesSchema,
  stable: z.boolean(),
  /** Why not stable, in words; empty where stable. */
  stabilityNotes: z.array(z.string()),
  /** Everything known of the circumstances and of the single repetitions. */
  conditions: jsonObjectSchema,
});
export type BenchmarkSubject = z.infer<typeof benchmarkSubjectSchema>;

/** Our speed divided by the peer's, repetition by repetition, which were measured one behind the other. */
export const speedRatioSchema = z.object({ median: z.number(), smallest: z.number(), largest: z.number() });
export type SpeedRatio = z.infer<typeof speedRatioSchema>;

export const benchmarkPeerSchema = z.object({
  engine: peerRequestSchema.shape.engine,
  /** What its weights are stored as. */
  type: nameSchema,
  /** Where its weights come from, in words. */
  weights: z.string(),
  /** Weights that it has, divided by those of the model; not 1 where its format allows the shape only wider. */
  weightRatio: z.number().positive(),
  /** What it really ran; null where it did not run. */
  version: z.string().nullable(),
  settings: jsonObjectSchema,
  /** Its figures; null where it could not be measured, `problem` says why. */
  subject: benchmarkSubjectSchema.nullable(),
  problem: errorPayloadSchema.optional(),
  /** By prompt length and by depth. */
  prefillRatio: z.record(z.string(), speedRatioSchema),
  decodeRatio: z.record(z.string(), speedRatioSchema),
});
export type BenchmarkPeer = z.infer<typeof benchmarkPeerSchema>;

export const benchmarkResultSchema = benchmarkSubjectSchema.extend({
  /** The weights are random and the figures say nothing about a model's quality; absent for a real model. */
  synthetic: syntheticModelSchema.optional(),
  /** Measured in turns with the model. */
  peers: z.array(benchmarkPeerSchema).optional(),
  baseline: benchmarkSubjectSchema.nullable(),
  /** Why a baseline that was asked for is missing, although the model itself was measured. */
  baselineProblem: errorPayloadSchema.optional(),
  runId: identifierSchema.nullable(),
});
export type BenchmarkResult = z.infer<typeof benchmarkResultSchema>;

const startedJobSchema = z.object({ jobId: identifierSchema, runId: identifierSchema.nullable() });

export const measurementCalls = {
  perplexity: { input: perplexityInputSchema, output: startedJobSchema },
  benchmark: { input: benchmarkInputSchema, output: startedJobSchema },
  /** Weight kernels by themselves, in a process of its own; takes a minute or two and should have the machine to itself. */
  measureKernels: { input: z.strictObject({ threads: threadsSchema.default(0) }), output: kernelTableSchema },
};
