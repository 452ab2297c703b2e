import { z } from 'zod';
import { identifierSchema, pathSchema } from '../../contract/common.ts';
import { errorPayloadSchema } from '../../contract/error-payload.ts';
import { unfinishedJobSchema } from '../recovery.ts';

/** What the supervisor of browser mode and its service process say to each other. */
export const toWebProcessSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('start'),
    home: pathSchema,
    /** Of the supervisor: what its services have in their queues belongs to one another. */
    studioId: identifierSchema,
    /** The built page. */
    pageFolder: pathSchema,
    host: z.string(),
    port: z.number().int().min(0).max(65535),
    /** Signs sessions, base64; the same after a restart, so that open pages are welcome again. */
    sessionKey: z.string(),
    /** What the process before this one left unfinished by its unexpected end. */
    resume: z.array(unfinishedJobSchema),
  }),
  /** Asks for an address with an unused token. */
  z.strictObject({ type: z.literal('create-token') }),
  z.strictObject({ type: z.literal('close') }),
]);
export type ToWebProcess = z.infer<typeof toWebProcessSchema>;

export const fromWebProcessSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('listening'), origin: z.string(), port: z.number().int() }),
  z.strictObject({ type: z.literal('token'), token: z.string() }),
  /** What is to be taken up after an unexpected end, whenever it changes. */
  z.strictObject({ type: z.literal('unfinished'), jobs: z.array(unfinishedJobSchema) }),
  z.strictObject({ type: z.literal('failed'), error: errorPayloadSchema }),
]);
export type FromWebProcess = z.infer<typeof fromWebProcessSchema>;
