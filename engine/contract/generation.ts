import { z } from 'zod';
import {
  activationBitsSchema,
  contextSchema,
  countSchema,
  deviceSchema,
  durationMsSchema,
  identifierSchema,
  keyValueCacheSchema,
  pathSchema,
  seedSchema,
  threadsSchema,
  usedKeyValueCacheSchema,
} from './common.ts';
import { limits } from './limits.ts';

/** How the next token is chosen. */
export const samplingSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('greedy') }),
  z.strictObject({
    kind: z.literal('sampled'),
    temperature: z.number().positive().max(100),
    /** Smallest set of tokens whose probabilities reach this is kept. */
    topP: z.number().gt(0).max(1),
    seed: seedSchema,
  }),
]);
export type Sampling = z.infer<typeof samplingSchema>;

export const chatMessageSchema = z.strictObject({
  role: z.enum(['system', 'user', 'assistant']),
  content: z.string().max(limits.promptLength),
});

const likelyTokenSchema = z.object({
  id: countSchema,
  /** What it adds to a text; a part of a character is shown as �. */
  text: z.string(),
  /** By the model itself, before temperature and top-p. */
  probability: z.number().min(0).max(1),
});

/** A generated token and what the model thought of others in its place, most probable first. */
export const tokenChoiceSchema = likelyTokenSchema.extend({ alternatives: z.array(likelyTokenSchema) });
export type TokenChoice = z.infer<typeof tokenChoiceSchema>;

/** A piece of generated text and the tokens it came from: one as a rule, more where a character takes several. */
export const textStepSchema = z.object({ text: z.string(), choices: z.array(tokenChoiceSchema) });
export type TextStep = z.infer<typeof textStepSchema>;

const generationSettings = {
  /** Folder, .gguf file or package. */
  model: pathSchema,
  maximumTokens: z.number().int().min(1).max(limits.generateTokens).default(128),
  sampling: samplingSchema,
  /** May raise, never lower, what a package was made for. Default: the package's own; 16 for a model. */
  activationBits: activationBitsSchema.optional(),
  /** Of packages on the CPU. Default: f32. */
  keyValueCache: keyValueCacheSchema.optional(),
  context: contextSchema.optional(),
  device: deviceSchema.default('cpu'),
  threads: threadsSchema.default(0),
  /**
   * Whether the model stays in memory for the next call of the same model, activation bits, device and threads: until another job begins, the service ends, or minutes
   * have passed.
   */
  keepLoaded: z.boolean().default(false),
  /** So many of the most probable tokens are told with each generated one, in `steps`; 0: none, and nothing is computed for it. */
  alternatives: z.number().int().min(0).max(limits.tokenAlternatives).default(0),
  /** Text at which generation stops, besides the model's own end-of-text ids. */
  stop: z.array(z.string().min(1).max(limits.nameLength)).max(16).default([]),
} as const;

export const generationResultSchema = z.object({
  /** What was generated, without the prompt. */
  text: z.string(),
  tokenIds: z.array(countSchema),
  promptTokens: countSchema,
  finishReason: z.enum(['end-of-text', 'stop-text', 'length', 'context', 'stopped']),
  model: pathSchema,
  activationBits: activationBitsSchema,
  keyValueCache: usedKeyValueCacheSchema,
  kernelPath: z.string(),
  device: z.string(),
  /** Null where only one token was generated. */
  decodeTokensPerSecond: z.number().nullable(),
  timeToFirstTokenMs: durationMsSchema.nullable(),
  loadMs: durationMsSchema,
  /** How a chat was written down: by the model's own template, or plainly where it has none; null for plain generation. */
  template: z.enum(['model-template', 'plain']).nullable(),
  warnings: z.array(z.string()),
});
export type GenerationResult = z.infer<typeof generationResultSchema>;

const startedJobSchema = z.object({ jobId: identifierSchema });

export const generationCalls = {
  /** Starts a job that continues a plain text; its text arrives as `job-text` events. */
  generate: {
    input: z.strictObject({ ...generationSettings, prompt: z.string().max(limits.promptLength) }),
    output: startedJobSchema,
  },
  /** Starts a job that answers the last message by the model's own chat template. */
  chat: {
    input: z.strictObject({
      ...generationSettings,
      messages: z.array(chatMessageSchema).min(1).max(limits.messageCount),
    }),
    output: startedJobSchema,
  },
};
export type GenerateInput = z.infer<typeof generationCalls.generate.input>;
export type ChatInput = z.infer<typeof generationCalls.chat.input>;
