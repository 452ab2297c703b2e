import { z } from 'zod';
import { errorPayloadSchema } from '../../contract/error-payload.ts';

/** A work process asks the main process for a window that computes on a GPU; there is one for each process. */
export const toMainSchema = z.strictObject({ type: z.literal('open-compute') });
export type ToMain = z.infer<typeof toMainSchema>;

/** The answer; a port travels along with `compute-port`. */
export const toComputingWorkerSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('compute-port') }),
  z.strictObject({ type: z.literal('no-compute'), error: errorPayloadSchema }),
]);
export type ToComputingWorker = z.infer<typeof toComputingWorkerSchema>;
