import { z } from 'zod';
import { identifierSchema, pathSchema } from '../../contract/common.ts';
import { unfinishedJobSchema } from '../recovery.ts';

/**
 * What the desktop's main process and its service process say to each other. A port travels along with `client` and `worker-started`. The service
 * cannot start processes itself (the packaged program may not run as Node), so that it asks the main process to.
 */
export const toDesktopServiceSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('start'),
    home: pathSchema,
    /** Of the main process: what its services have in their queues belongs to one another. */
    studioId: identifierSchema,
    resume: z.array(unfinishedJobSchema),
  }),
  /** A window; its port speaks the contract. */
  z.strictObject({ type: z.literal('client') }),
  /** The work process asked for runs; its port speaks the work protocol. */
  z.strictObject({
    type: z.literal('worker-started'),
    workerId: identifierSchema,
    pid: z.number().int().nullable(),
  }),
  z.strictObject({
    type: z.literal('worker-ended'),
    workerId: identifierSchema,
    exitCode: z.number().int().nullable(),
    /** Last lines of its standard error. */
    output: z.string(),
  }),
  /** The Hugging Face token, which the main process keeps encrypted; null: there is none. */
  z.strictObject({ type: z.literal('hub-token'), token: z.string().nullable() }),
  z.strictObject({ type: z.literal('close') }),
]);
export type ToDesktopService = z.infer<typeof toDesktopServiceSchema>;

/** What the taskbar, the power saving and the notification at the end are made from. */
export const activitySchema = z.strictObject({
  /** Jobs that run, wait or pause. */
  openJobs: z.number().int().nonnegative(),
  /** A job is running and not paused: the computer must not fall asleep. */
  working: z.boolean(),
  /** Of the running task, 0 … 1; null where it does not know. */
  fraction: z.number().min(0).max(1).nullable(),
});
export type Activity = z.infer<typeof activitySchema>;

export const fromDesktopServiceSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ready') }),
  z.strictObject({ type: z.literal('start-worker'), workerId: identifierSchema }),
  z.strictObject({ type: z.literal('end-worker'), workerId: identifierSchema }),
  /** What is to be taken up after an unexpected end, whenever it changes. */
  z.strictObject({ type: z.literal('unfinished'), jobs: z.array(unfinishedJobSchema) }),
  z.strictObject({ type: z.literal('activity'), activity: activitySchema }),
  z.strictObject({
    type: z.literal('job-ended'),
    kind: z.string(),
    state: z.enum(['finished', 'failed', 'stopped']),
    /** Of a package or model, for the notification. */
    subject: z.string().nullable(),
    message: z.string().nullable(),
  }),
  z.strictObject({ type: z.literal('closed') }),
]);
export type FromDesktopService = z.infer<typeof fromDesktopServiceSchema>;
