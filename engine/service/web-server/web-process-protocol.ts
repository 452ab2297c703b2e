import { z } from 'zod';
import { identifierSchema, pathSchema } from '../../contract/common.ts';
import { errorPayloadSchema } from '../../contract/error-payload.ts';

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
    /** Outputs of quantizations that the process before this one left unfinished by its unexpected end. */
    resume: z.array(pathSchema),
  }),
  /** Asks for an address with an unused token. */
  z.strictObject({ type: z.literal('create-token') }),
  z.strictObject({ type: z.literal('close') }),
]);
export type ToWebProcess = z.infer<typeof toWebProcessSchema>;

export const fromWebProcessSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('listening'), origin: z.string(), port: z.number().int() }),
  z.strictObject({ type: z.literal('token'), token: z.string() }),
  /** The outputs of running quantizations, whenever they change: what is to be resumed after an unexpected end. */
  z.strictObject({ type: z.literal('unfinished'), paths: z.array(pathSchema) }),
  z.strictObject({ type: z.literal('failed'), error: errorPayloadSchema }),
]);
export type FromWebProcess = z.infer<typeof fromWebProcessSchema>;
