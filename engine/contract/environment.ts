import { z } from 'zod';
import { bytesSchema, countSchema, pathSchema } from './common.ts';

/** What only native code can tell; `problem` says why it could not be loaded. */
export const nativeEnvironmentSchema = z.object({
  threads: countSchema.nullable(),
  onnxruntime: z.string().nullable(),
  problem: z.string().nullable(),
});

export const environmentSchema = z.object({
  /** Of this program. */
  version: z.string(),
  node: z.string(),
  platform: z.string(),
  architecture: z.string(),
  cpu: z.object({ model: z.string(), cores: countSchema }),
  memoryBytes: bytesSchema,
  native: nativeEnvironmentSchema,
  /** DBELL_HOME. */
  home: pathSchema,
  historyFile: pathSchema,
});
export type Environment = z.infer<typeof environmentSchema>;

export const environmentCalls = {
  environment: { input: z.strictObject({}), output: environmentSchema },
};
