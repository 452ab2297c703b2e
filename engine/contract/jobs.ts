import { z } from 'zod';
import {
  activationBitsSchema,
  bytesSchema,
  countSchema,
  durationMsSchema,
  identifierSchema,
  nameSchema,
  pathSchema,
  timeSchema,
} from './common.ts';
import { compareResultSchema } from './compare.ts';
import { errorPayloadSchema } from './error-payload.ts';
import { exportResultSchema } from './export.ts';
import { generationResultSchema, textStepSchema } from './generation.ts';
import { downloadResultSchema } from './hub.ts';
import { benchmarkResultSchema, perplexityResultSchema } from './measurement.ts';
import { qualityResultSchema } from './quality.ts';
import { layerDetailSchema, quantizeResultSchema, verifyResultSchema } from './quantization.ts';

/**
 * queued → running ⇄ paused; running → stopping → stopped; running → finished | failed. A stopped or failed quantization can be
 * resumed, which makes a new job for the same run.
 */
export const jobStateSchema = z.enum([
  'queued',
  'running',
  'paused',
  'stopping',
  'stopped',
  'finished',
  'failed',
]);
export type JobState = z.infer<typeof jobStateSchema>;

/** One piece of a job's work, as a person would name it. */
export const jobTaskSchema = z.enum([
  'quantize',
  'verify',
  'export',
  'perplexity',
  'quality',
  'benchmark',
  'generate',
  'compare',
  'download',
]);
export type JobTask = z.infer<typeof jobTaskSchema>;

/** A job is named by the first thing that it does. */
export const jobKindSchema = jobTaskSchema;

/** What a job is about, as it was asked for or as far as it is known by now. */
export const jobSubjectSchema = z.object({
  /** Models and packages that it reads, the one that it is about first: paths, or the name of a download. */
  models: z.array(z.string().min(1)).min(1),
  /** Of a package that is made; with the settings that were changed, once they were resolved. */
  recipe: nameSchema.nullable(),
  activationBits: activationBitsSchema.nullable(),
  /** What is written; for a download the folder that it goes into. */
  output: pathSchema.nullable(),
});
export type JobSubject = z.infer<typeof jobSubjectSchema>;

/**
 * What is being done within a task, as progress names it. Behind `prefill` and `decode at` stands a number of tokens.
 */
export const jobStages = [
  'prepare',
  'read text',
  'float-stream',
  'transform',
  'calibrate',
  'quantize',
  'propagate',
  'write',
  'finish',
  'load',
  'warm up',
  'write random weights',
  'export',
  'prefill',
  'decode at',
  'perplexity',
  'quality',
  'write samples',
  'write text',
  'measure the memory',
  'verify',
  'check',
  'write file',
  'ask',
  'transfer',
] as const;
export type JobStage = (typeof jobStages)[number];
/** A stage as it is sent. */
export type SentStage = Exclude<JobStage, 'prefill' | 'decode at'> | `${'prefill' | 'decode at'} ${number}`;

/** Where a job stands. Comes about twenty times a second at most; the newest replaces the ones before. */
export const jobProgressSchema = z.object({
  /** Which of the job's tasks this is. */
  task: jobTaskSchema,
  /** One of `jobStages`, or what a newer engine sends. */
  stage: z.string(),
  /** 0 … 1 of the task, or null while unknown. */
  fraction: z.number().min(0).max(1).nullable(),
  /** Which of how many blocks, windows, repetitions; `unit` names them. */
  step: z.object({ index: countSchema, count: countSchema, unit: z.string() }).nullable(),
  /** Layer or file in work. */
  item: z.string().nullable(),
  /** Of a transfer. */
  bytes: z.object({ done: bytesSchema, total: bytesSchema }).optional(),
  /** Relative error of the newest finished layer. */
  relativeError: z.number().nullable(),
  elapsedMs: durationMsSchema,
  /** Measured from the work done so far; null until there is enough of it. */
  remainingMs: durationMsSchema.nullable(),
  /** How well `remainingMs` is known, where that is known too. */
  remainingRangeMs: z.object({ low: durationMsSchema, high: durationMsSchema }).optional(),
  /** Resident memory of the work process now. */
  rssBytes: bytesSchema.nullable(),
});
export type JobProgress = z.infer<typeof jobProgressSchema>;

/** Why a job is paused although nobody paused it; it goes on by itself. */
export const jobHoldSchema = z.object({
  /** Less is free on the volume of `output` than the setting `diskFloorBytes` leaves to others. */
  reason: z.literal('disk-floor'),
  output: pathSchema,
  freeBytes: bytesSchema,
  floorBytes: bytesSchema,
});
export type JobHold = z.infer<typeof jobHoldSchema>;

const jobBase = {
  jobId: identifierSchema,
  runId: identifierSchema.nullable(),
  state: jobStateSchema,
  /** Null unless `state` is `paused` by the program itself. */
  hold: jobHoldSchema.nullable(),
  createdAt: timeSchema,
  startedAt: timeSchema.nullable(),
  endedAt: timeSchema.nullable(),
  progress: jobProgressSchema.nullable(),
  error: errorPayloadSchema.nullable(),
  /** Whether `resume` can take the work up where it ended, and how. */
  resumable: z.object({ path: z.string() }).nullable(),
  /** What was asked for, in the order in which it is done. A comparison finds out on its way what else has to be measured. */
  tasks: z.array(jobTaskSchema).min(1),
  subject: jobSubjectSchema,
};

export const jobSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('quantize'), result: quantizeResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('verify'), result: verifyResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('export'), result: exportResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('generate'), result: generationResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('perplexity'), result: perplexityResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('quality'), result: qualityResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('compare'), result: compareResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('download'), result: downloadResultSchema.nullable(), ...jobBase }),
  z.object({ kind: z.literal('benchmark'), result: benchmarkResultSchema.nullable(), ...jobBase }),
]);
export type Job = z.infer<typeof jobSchema>;
export type JobKind = Job['kind'];
/** Result of each kind of job. */
export type JobResult<K extends JobKind> = NonNullable<Extract<Job, { kind: K }>['result']>;

/** Everything a job has told so far, for those who did not hear it: a window opened later, a reloaded page. */
export const jobDetailsSchema = z.object({
  job: jobSchema,
  layers: z.array(z.object({ blockIndex: countSchema, layer: layerDetailSchema })),
  messages: z.array(z.object({ level: z.enum(['info', 'warning']), message: z.string() })),
  /** Generated text, all pieces joined. */
  text: z.string(),
  /** The same text token by token; empty where `alternatives` were not asked for. */
  steps: z.array(textStepSchema).default([]),
});
export type JobDetails = z.infer<typeof jobDetailsSchema>;

const jobIdInput = z.strictObject({ jobId: identifierSchema });
const jobOutput = z.object({ job: jobSchema });

export const jobCalls = {
  'jobs.list': { input: z.strictObject({}), output: z.object({ jobs: z.array(jobSchema) }) },
  'jobs.get': { input: jobIdInput, output: jobOutput },
  'jobs.details': { input: jobIdInput, output: jobDetailsSchema },
  /** Answers when the job has ended (finished, failed or stopped). */
  'jobs.wait': { input: jobIdInput, output: jobOutput },
  /** Holds the work at its next border (layer, window, token) until `jobs.continue`. */
  'jobs.pause': { input: jobIdInput, output: jobOutput },
  'jobs.continue': { input: jobIdInput, output: jobOutput },
  /** Asks the work to end at its next border; after 5 seconds its process is ended. Checkpoints make both safe. */
  'jobs.stop': { input: jobIdInput, output: jobOutput },
};
