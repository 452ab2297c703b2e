import { z } from 'zod';
import { limits } from './limits.ts';

/** Schemas that several subjects share. */

/** Bits of the input of every quantized linear; 16 = not quantized. */
export const activationBitsSchema = z.union([z.literal(16), z.literal(8), z.literal(6), z.literal(4)]);
export type ActivationBits = z.infer<typeof activationBitsSchema>;
/** What keys and values of a packed model are kept as while it runs. */
export const keyValueCacheSchema = z.enum(['f32', 'f16', 'int8']);
export type KeyValueCache = z.infer<typeof keyValueCacheSchema>;
/** Those that a GPU has. */
export const gpuKeyValueCaches = ['f32', 'f16'] as const satisfies readonly KeyValueCache[];
/** Of a result; absent where it is float32, as in all results of older versions. */
export const usedKeyValueCacheSchema = keyValueCacheSchema.exclude(['f32']).optional();

/**
 * What shares a step where activations are rounded. `token`: all columns of a token, as the papers have it. `block`: each block of 128 columns of a token, so that
 * one large value coarsens its own block only. 16-bit activations have no step.
 */
export const activationScalesSchema = z.enum(['token', 'block']);
export type ActivationScales = z.infer<typeof activationScalesSchema>;

/** Of a measurement with activations of fewer than 16 bits; absent in those from before it was recorded, which were by token. */
export const measuredActivationScalesSchema = activationScalesSchema.optional();

/** Bits of the stored embedding table and head. */
export const embeddingBitsSchema = z.union([z.literal(16), z.literal(8), z.literal(6), z.literal(4)]);
export type EmbeddingBits = z.infer<typeof embeddingBitsSchema>;

/** What a package may hold: 2 and 1 are grids, which `quantize` makes of linears only. */
export const storedEmbeddingBitsSchema = z.union([embeddingBitsSchema, z.literal(2), z.literal(1)]);

/** A path of the file system on which the service runs. */
export const pathSchema = z
  .string()
  .min(1, 'a path must not be empty')
  .max(limits.pathLength)
  .refine((value) => !value.includes('\0'), 'a path must not contain a zero byte');

export const nameSchema = z.string().min(1).max(limits.nameLength);

export const identifierSchema = z.string().regex(/^[0-9A-Za-z_-]{1,64}$/, 'not an identifier');

/** Whole bytes; exact up to 2^53. */
export const bytesSchema = z.number().int().nonnegative();
export const countSchema = z.number().int().nonnegative();
/** Milliseconds, fractions allowed. */
export const durationMsSchema = z.number().nonnegative();
export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in lower-case hexadecimal');
/** ISO 8601, UTC. */
export const timeSchema = z.string().max(40);

export const seedSchema = z.number().int().min(0).max(limits.seed);
/** 0 = all cores. */
export const threadsSchema = z.number().int().min(0).max(limits.threads);
export const contextSchema = z.number().int().min(2).max(limits.contextTokens);
/** What runs a packed model: the processor, the first graphics adapter that is no software, adapter number N, or a graphics adapter where there is one. */
export const devicePattern = /^(cpu|auto|gpu(:\d{1,3})?)$/;
export const deviceSchema = z.string().regex(devicePattern, 'a device is cpu, gpu, gpu:N or auto');
/** What computes in full precision: onnxruntime on the processor, by its WebGPU provider, or by CUDA where its libraries are installed. */
export const floatDeviceSchema = z.enum(['cpu', 'webgpu', 'cuda']);
export type FloatDevice = z.infer<typeof floatDeviceSchema>;
export const windowCountSchema = z.number().int().min(1).max(limits.windowCount);

/** Bytes by term, such as `weights`, `kvCache`. */
export const itemisedBytesSchema = z.record(z.string().max(limits.nameLength), z.number().nonnegative());

/** JSON as it comes from a file or goes into one. */
export const jsonObjectSchema = z.record(z.string(), z.json());
export type JsonObject = z.infer<typeof jsonObjectSchema>;

/** Of a measurement: there where its text, or its very windows, are those that the package was calibrated on, so that its figures flatter the package. */
export const calibrationTextMarkSchema = z.literal(true).optional();

/** The model's own distribution: calibrates better than the likelier text that is nicer to read (docs/method.md, section 10). */
export const selfTextDefaults = { temperature: 1, topP: 1 } as const;

/** Name of a text that a model wrote itself, in packages, results and the history. */
export const selfTextName = 'written by the model itself';

/**
 * Which window of text is scored or calibrated on: a file or folder, or a text bundled with the product.
 */
export const textSourceSchema = z.union([
  z.strictObject({ path: pathSchema }),
  z.strictObject({ bundled: nameSchema }),
]);
export type TextSource = z.infer<typeof textSourceSchema>;

/** A text to calibrate on: besides these, one that the model writes itself, by sampling from its own beginning of text. */
export const calibrationSourceSchema = z.union([
  ...textSourceSchema.options,
  z.strictObject({
    self: z.strictObject({
      temperature: z.number().positive().max(100).default(selfTextDefaults.temperature),
      /** Smallest set of tokens whose probabilities reach this is kept. */
      topP: z.number().gt(0).max(1).default(selfTextDefaults.topP),
    }),
  }),
]);
export type CalibrationSource = z.infer<typeof calibrationSourceSchema>;

/** How documents are joined: by an id, not at all, or by the model's own default. */
export const documentSeparatorSchema = z.union([
  z.literal('default'),
  z.literal('none'),
  z.number().int().nonnegative(),
]);

/** Something a person should know; `error` problems make a model or package unusable. */
export const problemSchema = z.object({
  severity: z.enum(['error', 'warning']),
  code: z.string(),
  message: z.string(),
  /** A path that is likely meant, where a path is what is wrong. */
  instead: pathSchema.optional(),
});
export type Problem = z.infer<typeof problemSchema>;

/** One changed field of a recipe, as typed: `compensation.kind` = `block`. */
export const settingSchema = z.strictObject({ key: nameSchema, value: z.string().max(limits.nameLength) });
export type Setting = z.infer<typeof settingSchema>;

/** Embedding or LM head of a package; one entry where they are one table. */
export const storedTableSchema = z.object({
  name: z.string(),
  bits: storedEmbeddingBitsSchema,
  /** `compensated`: fitted to the inputs of the head (docs/method.md, section 9). */
  method: z.enum(['rounded', 'compensated']),
  /** Relative error in the metric of the fit; null where nothing was fitted. */
  relativeError: z.number().nullable(),
  /** ‖W − Ŵ‖² / ‖W‖²; null at 16 and 8 bits. */
  weightRelativeError: z.number().nullable(),
  /** Scales and padding counted. */
  storedBytes: bytesSchema,
  storedBitsPerWeight: z.number(),
});
export type StoredTable = z.infer<typeof storedTableSchema>;
