import { z } from 'zod';
import { countSchema, identifierSchema } from './common.ts';
import { textStepSchema } from './generation.ts';
import { jobProgressSchema, jobSchema } from './jobs.ts';
import { layerDetailSchema } from './quantization.ts';
import { settingsSchema } from './settings.ts';

/** Everything that the service tells without being asked. */
export const eventSchema = z.discriminatedUnion('type', [
  /** A job changed its state; carries the whole job. */
  z.object({ type: z.literal('job-state'), job: jobSchema }),
  z.object({ type: z.literal('job-progress'), jobId: identifierSchema, progress: jobProgressSchema }),
  /** A linear was quantized. None is left out. */
  z.object({
    type: z.literal('job-layer'),
    jobId: identifierSchema,
    blockIndex: countSchema,
    layer: layerDetailSchema,
  }),
  /** Generated text; concatenated pieces are the whole. */
  z.object({
    type: z.literal('job-text'),
    jobId: identifierSchema,
    text: z.string(),
    tokenIds: z.array(countSchema),
    /** The same text token by token; only where `alternatives` were asked for. */
    steps: z.array(textStepSchema).optional(),
  }),
  /** A fall-back or another thing that a person should see. */
  z.object({
    type: z.literal('job-message'),
    jobId: identifierSchema,
    level: z.enum(['info', 'warning']),
    message: z.string(),
  }),
  /** Something about the service as a whole, such as a history that cannot be written. */
  z.object({
    type: z.literal('service-message'),
    level: z.enum(['info', 'warning']),
    message: z.string(),
  }),
  /** Rows of the history were added, changed or removed. */
  z.object({ type: z.literal('history-changed') }),
  /** A job began to wait for the person, or does no more (waiting-jobs.ts). */
  z.object({ type: z.literal('waiting-changed') }),
  z.object({ type: z.literal('settings-changed'), settings: settingsSchema }),
]);
export type ServiceEvent = z.infer<typeof eventSchema>;
