import { z } from 'zod';
import { nameSchema } from './common.ts';
import { errorPayloadSchema } from './error-payload.ts';

/**
 * How calls and events travel, whatever carries them (function call, MessagePort, WebSocket): a request has an id of the caller's choice,
 * its response bears the same id, events come unasked.
 */
export const requestSchema = z.strictObject({
  id: z.union([z.number().int().nonnegative(), z.string().min(1).max(64)]),
  call: nameSchema,
  input: z.unknown(),
});
export type Request = z.infer<typeof requestSchema>;

export const responseSchema = z.union([
  z.strictObject({ id: requestSchema.shape.id.nullable(), error: errorPayloadSchema }),
  z.strictObject({ id: requestSchema.shape.id, output: z.unknown() }),
]);
export type Response = z.infer<typeof responseSchema>;
