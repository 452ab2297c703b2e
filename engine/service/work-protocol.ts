import { z } from 'zod';
import {
  activationBitsSchema,
  countSchema,
  identifierSchema,
  jsonObjectSchema,
  nameSchema,
  pathSchema,
  sha256Schema,
  textSourceSchema,
  threadsSchema,
  timeSchema,
} from '../contract/common.ts';
import { comparedMeasurementSchema, comparedSubjectSchema, compareInputSchema } from '../contract/compare.ts';
import { environmentCalls, nativeEnvironmentSchema } from '../contract/environment.ts';
import { errorPayloadSchema } from '../contract/error-payload.ts';
import { exportInputSchema, exportResultSchema } from '../contract/export.ts';
import { generationCalls, generationResultSchema, textStepSchema } from '../contract/generation.ts';
import { downloadInputSchema, downloadResultSchema, hubCalls } from '../contract/hub.ts';
import { jobProgressSchema } from '../contract/jobs.ts';
import {
  benchmarkSettingsSchema,
  benchmarkSubjectSchema,
  kernelTableSchema,
  memoryBandwidthSchema,
  peerRequestSchema,
  perplexityInputSchema,
  perplexityResultSchema,
  syntheticModelSchema,
} from '../contract/measurement.ts';
import { modelCalls } from '../contract/models.ts';
import { knownPackageSchema, packageCalls } from '../contract/packages.ts';
import { qualityInputSchema, qualityResultSchema } from '../contract/quality.ts';
import {
  layerDetailSchema,
  layerReportSchema,
  quantizationCalls,
  quantizedSchema,
  quantizeInputSchema,
  verifyInputSchema,
  verifyResultSchema,
} from '../contract/quantization.ts';
import { textPreviewCalls } from '../contract/text-preview.ts';

/** Which model or package was made or measured, wherever its files lie by now. */
export const subjectIdentitySchema = z.object({
  /** Of the full-precision model itself, or of that which the package was made from. */
  sourceFingerprint: sha256Schema,
  /** SHA-256 of a package's config.json, which holds the hashes of its other files; null for a model in full precision. */
  packageFingerprint: sha256Schema.nullable(),
  /** Of a package. */
  storedBitsPerWeight: z.number().nullable(),
});
export type SubjectIdentity = z.infer<typeof subjectIdentitySchema>;
const identified = { identity: subjectIdentitySchema };

/** Only what needs the network gets it. Checked where it is used, whose messages do not show the token. */
const hubAccess = { access: z.strictObject({ endpoint: z.string(), token: z.string().nullable() }) };

/** Geometry of a LLaMA-like model (model/model-shapes.ts). */
const modelShapeSchema = z.strictObject({
  name: z.string(),
  hiddenSize: countSchema,
  intermediateSize: countSchema,
  blockCount: countSchema,
  headCount: countSchema,
  keyValueHeadCount: countSchema,
  vocabularySize: countSchema,
  contextLength: countSchema,
  tiedHead: z.boolean(),
});

/** A peer that can be started. */
export const preparedPeerSchema = z.strictObject({
  engine: peerRequestSchema.shape.engine,
  type: nameSchema,
  /** Where its weights come from, in words. */
  weights: z.string(),
  weightRatio: z.number().positive(),
  shape: modelShapeSchema,
  /** llama.cpp's file. */
  gguf: pathSchema.nullable(),
  /** Of that file, what decoding does not read: an embedding that is not the head. */
  unreadBytes: countSchema,
});
export type PreparedPeer = z.infer<typeof preparedPeerSchema>;

/** One that cannot: not installed, or without a place for such a model. */
const missingPeerSchema = z.strictObject({ request: peerRequestSchema, problem: errorPayloadSchema });

/**
 * What the service and a work process say to each other. Both check what they receive: a work process reads hostile files, and its memory is
 * no more to be trusted than they are.
 *
 * A work process does one task: `run`, then reports, then `result` or `error`, then its end. One that is kept waits for the next `run` after a result.
 */
export const taskSchemas = {
  /** What native code finds on this machine. */
  environment: { input: z.strictObject({}), result: nativeEnvironmentSchema },
  devices: { input: environmentCalls.devices.input, result: environmentCalls.devices.output },
  generate: {
    input: z.union([generationCalls.generate.input, generationCalls.chat.input]),
    result: generationResultSchema,
  },
  /** Of this machine, in a process of its own: its buffer would be in the subject's peak. */
  memoryBandwidth: {
    /** `turns`: in turns with subjects, so many times beside their measurements, else once. Turns of their warm-up pass without it. */
    input: z.strictObject({
      threads: threadsSchema,
      turns: z.strictObject({ warmUp: z.int().min(0), measured: z.int().min(1) }).optional(),
    }),
    result: memoryBandwidthSchema,
  },
  /** Of weight kernels by themselves. */
  kernelTable: { input: z.strictObject({ threads: threadsSchema }), result: kernelTableSchema },
  /** What can be known of a benchmark's subjects before the first is measured; throws what is wrong. */
  checkBenchmark: {
    input: z.strictObject({ subjects: z.array(benchmarkSettingsSchema) }),
    result: z.strictObject({}),
  },
  benchmark: {
    input: benchmarkSettingsSchema.extend({
      /** Others are measured in between: the task waits for its turn at each border. */
      takesTurns: z.boolean().optional(),
    }),
    result: benchmarkSubjectSchema.extend(identified),
  },
  /** Writes what a benchmark of a shape or beside peers needs into `folder`. */
  prepareBenchmark: {
    input: z.strictObject({
      folder: pathSchema,
      subject: z.union([
        z.strictObject({ model: pathSchema }),
        z.strictObject({ synthetic: syntheticModelSchema }),
      ]),
      peers: z.array(peerRequestSchema),
    }),
    result: z.strictObject({
      model: pathSchema,
      peers: z.array(z.union([preparedPeerSchema, missingPeerSchema])),
    }),
  },
  benchmarkPeer: {
    input: z.strictObject({
      peer: preparedPeerSchema,
      settings: benchmarkSettingsSchema.omit({ model: true, device: true, activationBits: true }),
    }),
    result: z.strictObject({
      subject: benchmarkSubjectSchema,
      version: z.string(),
      settings: jsonObjectSchema,
    }),
  },
  quantize: {
    input: z.strictObject({ input: quantizeInputSchema, runId: identifierSchema, createdAt: timeSchema }),
    result: quantizedSchema.extend({ layers: z.array(layerReportSchema), ...identified }),
  },
  /** What a package says of the run that made it, for a run that was killed just before it could report its end. */
  describePackage: {
    input: z.strictObject({ package: pathSchema }),
    result: quantizedSchema
      .omit({ runId: true })
      .extend({ layers: z.array(layerReportSchema), ...identified }),
  },
  /** What packages say of themselves, in the order asked for; damaged ones are findings. */
  describePackages: {
    input: z.strictObject({ packages: z.array(pathSchema) }),
    result: z.object({
      packages: z.array(knownPackageSchema.omit({ path: true, name: true, createdAt: true, runId: true })),
    }),
  },
  packageQuality: {
    input: packageCalls['packages.quality'].input,
    result: packageCalls['packages.quality'].output,
  },
  channelWeights: {
    input: packageCalls['packages.channelWeights'].input,
    result: packageCalls['packages.channelWeights'].output,
  },
  /** A subject of a comparison, and the windows that a text gives it. */
  describeSubject: {
    input: z.strictObject({
      path: pathSchema,
      wanted: z
        .strictObject(
          compareInputSchema.pick({ context: true, windows: true, documentSeparator: true }).shape,
        )
        .extend({ text: textSourceSchema })
        .nullable(),
    }),
    result: z.object({
      subject: comparedSubjectSchema,
      windows: comparedMeasurementSchema.pick({ textSha256: true, context: true, windows: true }).nullable(),
    }),
  },
  verify: {
    input: verifyInputSchema.omit({ remember: true }),
    /** What the package says of itself is null where it cannot be read. */
    result: verifyResultSchema.omit({ runId: true }).extend({
      recipe: z.string().nullable(),
      activationBits: activationBitsSchema.nullable(),
      identity: subjectIdentitySchema.nullable(),
    }),
  },
  export: { input: exportInputSchema, result: exportResultSchema },
  perplexity: {
    input: perplexityInputSchema,
    result: perplexityResultSchema.omit({ runId: true }).extend(identified),
  },
  quality: {
    input: qualityInputSchema,
    result: qualityResultSchema.omit({ runId: true }).extend(identified),
  },
  recipeSizes: {
    input: quantizationCalls.recipeSizes.input,
    result: quantizationCalls.recipeSizes.output,
  },
  estimate: {
    input: quantizationCalls.estimate.input,
    /** With the speed that its times follow from; null where they follow from a typical processor's. */
    result: quantizationCalls.estimate.output.extend({
      operationsPerSecond: z.number().positive().nullable(),
    }),
  },
  previewText: { input: textPreviewCalls.previewText.input, result: textPreviewCalls.previewText.output },
  hubSearch: {
    input: hubCalls['hub.search'].input.extend(hubAccess),
    result: hubCalls['hub.search'].output,
  },
  hubModel: { input: hubCalls['hub.model'].input.extend(hubAccess), result: hubCalls['hub.model'].output },
  hubDownload: {
    input: z.strictObject({
      ...hubAccess,
      input: downloadInputSchema,
      /** Of all downloaded models. */
      folder: pathSchema,
      storeFile: pathSchema,
    }),
    result: downloadResultSchema,
  },
  inspect: { input: modelCalls.inspect.input, result: modelCalls.inspect.output },
} as const;

export type TaskKind = keyof typeof taskSchemas;
export type TaskInput<K extends TaskKind> = z.output<(typeof taskSchemas)[K]['input']>;
export type TaskResult<K extends TaskKind> = z.output<(typeof taskSchemas)[K]['result']>;

export const toWorkProcessSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('run'),
    task: z.enum(Object.keys(taskSchemas) as [TaskKind, ...TaskKind[]]),
    input: z.unknown(),
    /** Whether the process waits for another task after a result. */
    keep: z.boolean().default(false),
  }),
  z.strictObject({ type: z.literal('pause') }),
  z.strictObject({ type: z.literal('continue') }),
  z.strictObject({ type: z.literal('stop') }),
  /** The turn of a task that waits for it. */
  z.strictObject({ type: z.literal('turn') }),
]);
export type ToWorkProcess = z.infer<typeof toWorkProcessSchema>;

/** What a kept process has loaded: the same for tasks that can go on with the same model. */
export function loadedModelKey({
  model,
  activationBits,
  keyValueCache,
  device,
  threads,
}: TaskInput<'generate'>): string {
  return JSON.stringify([model, activationBits ?? null, keyValueCache ?? null, device, threads]);
}

/** What a task reports while it works. */
export const reportSchema = z.discriminatedUnion('type', [
  /** The task waits for its turn. */
  z.strictObject({ type: z.literal('waiting') }),
  z.strictObject({ type: z.literal('progress'), progress: jobProgressSchema }),
  z.strictObject({ type: z.literal('layer'), blockIndex: countSchema, layer: layerDetailSchema }),
  z.strictObject({
    type: z.literal('text'),
    text: z.string(),
    tokenIds: z.array(countSchema),
    steps: z.array(textStepSchema).optional(),
  }),
  /** A quantization holds its output's lock and begins to work; from now on the history knows it. */
  z.strictObject({
    type: z.literal('accepted'),
    runId: identifierSchema,
    createdAt: timeSchema,
    modelPath: pathSchema,
    recipe: jsonObjectSchema,
  }),
  z.strictObject({
    type: z.literal('message'),
    level: z.enum(['info', 'warning']),
    message: z.string(),
  }),
]);
export type Report = z.infer<typeof reportSchema>;
export type AcceptedReport = Extract<Report, { type: 'accepted' }>;

export const fromWorkProcessSchema = z.discriminatedUnion('type', [
  ...reportSchema.options,
  /** After the last one the process ends; after another it waits for its next task. */
  z.strictObject({ type: z.literal('result'), result: z.unknown(), isLast: z.boolean() }),
  z.strictObject({ type: z.literal('error'), error: errorPayloadSchema }),
]);
export type FromWorkProcess = z.infer<typeof fromWorkProcessSchema>;
