import { z } from 'zod';
import {
  bytesSchema,
  countSchema,
  identifierSchema,
  pathSchema,
  problemSchema,
  timeSchema,
} from './common.ts';
import { limits } from './limits.ts';

/** Models of the Hugging Face Hub, or of a server that speaks like it. All of it is refused with `network-off` while the network switch is off. */

/** `OWNER/NAME`, or `NAME` alone for the oldest models. */
export const repositoryNameSchema = z
  .string()
  .max(limits.repositoryNameLength)
  .regex(
    /^(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]*(?:\/[A-Za-z0-9_][\w.-]*)?$/,
    'must be the name of a repository, OWNER/NAME, in Latin letters, digits, dots, hyphens and underscores',
  );

/** A branch, a tag or a commit. */
export const revisionSchema = z
  .string()
  .max(limits.nameLength)
  .regex(/^(?!.*\.\.)[\w.][\w./-]*$/, 'must be a branch, tag or commit');

/** A file's path within its repository. */
const repositoryPathSchema = z.string().min(1).max(limits.pathLength);

/** `no`: free for all; `auto`: after the licence was accepted; `manual`: after its owner has agreed. */
export const gatedSchema = z.enum(['no', 'auto', 'manual']);
export type Gated = z.infer<typeof gatedSchema>;

const hubModelBase = {
  name: repositoryNameSchema,
  /** As its author names it, such as `apache-2.0`; null where nothing is said. */
  license: z.string().nullable(),
  gated: gatedSchema,
  downloads: countSchema,
  likes: countSchema,
  updatedAt: timeSchema.nullable(),
  parameters: countSchema.nullable(),
  /** `model_type` of its config.json, or the architecture that a GGUF file names. */
  modelType: z.string().nullable(),
};

export const hubSearchResultSchema = z.object({
  ...hubModelBase,
  /** Bytes of the weights as the Hub counts them; null where it does not. */
  weightBytes: bytesSchema.nullable(),
  /** Whether the family is one that is read here; null where the Hub does not say what it is. */
  supported: z.boolean().nullable(),
  hasGguf: z.boolean(),
});
export type HubSearchResult = z.infer<typeof hubSearchResultSchema>;

/** One way to have the model: the Hugging Face folder, or one GGUF file. */
export const hubChoiceSchema = z.object({
  format: z.enum(['huggingface', 'gguf']),
  /** The GGUF file; null for the folder. */
  file: repositoryPathSchema.nullable(),
  /** All that would be fetched. */
  bytes: bytesSchema,
  files: z.array(z.object({ path: repositoryPathSchema, bytes: bytesSchema })),
});
export type HubChoice = z.infer<typeof hubChoiceSchema>;

export const hubModelSchema = z.object({
  ...hubModelBase,
  /** The commit that the revision means now. */
  commit: z.string(),
  /** The model's page, for a browser. */
  page: z.string(),
  supported: z.boolean().nullable(),
  /** What would keep the model from being used, as far as it shows before the download. */
  problems: z.array(problemSchema),
  /** Empty where nothing can be used. */
  choices: z.array(hubChoiceSchema),
});
export type HubModel = z.infer<typeof hubModelSchema>;

export const downloadInputSchema = z.strictObject({
  name: repositoryNameSchema,
  revision: revisionSchema.default('main'),
  /** A GGUF file; without it the Hugging Face folder, or the only GGUF file there is. */
  file: repositoryPathSchema.optional(),
});
export type DownloadInput = z.output<typeof downloadInputSchema>;

/** How a job names what it downloads. */
export function downloadSubject(name: string, file: string | null | undefined): string {
  return file ? `${name}: ${file}` : name;
}

export const downloadResultSchema = z.object({
  name: repositoryNameSchema,
  revision: z.string(),
  commit: z.string(),
  license: z.string().nullable(),
  /** The model: a folder or a .gguf file. */
  path: pathSchema,
  bytes: bytesSchema,
  /** Bytes that came over the network now; less than all where a download was resumed. */
  transferredBytes: bytesSchema,
  files: z.array(
    z.object({
      name: z.string(),
      bytes: bytesSchema,
      /** What the content was checked against. */
      hash: z.object({ kind: z.enum(['sha256', 'git-blob-sha1']), value: z.string() }),
    }),
  ),
  /** Nothing had to be fetched: it was there already. */
  wasThere: z.boolean(),
});
export type DownloadResult = z.infer<typeof downloadResultSchema>;

/** A download that has begun and not ended. */
export const unfinishedDownloadSchema = z.object({
  /** Where the model will be. */
  path: pathSchema,
  name: repositoryNameSchema,
  revision: z.string(),
  file: z.string().nullable(),
  bytesDone: bytesSchema,
  bytesTotal: bytesSchema,
  updatedAt: timeSchema,
});
export type UnfinishedDownload = z.infer<typeof unfinishedDownloadSchema>;

export const hubCalls = {
  'hub.status': {
    input: z.strictObject({}),
    output: z.object({
      /** The network switch. */
      network: z.boolean(),
      endpoint: z.string(),
      /** Where the access token comes from; the token itself is never told. */
      token: z.enum(['none', 'environment', 'given']),
      /** Where models are put. */
      folder: pathSchema,
    }),
  },
  /** Keeps an access token until the service ends, or forgets it. It is sent to the endpoint alone. */
  'hub.token': {
    input: z.strictObject({ token: z.string().max(limits.tokenLength).nullable() }),
    output: z.object({}),
  },
  /** Most downloaded first. */
  'hub.search': {
    input: z.strictObject({
      query: z.string().trim().min(1, 'say what to look for').max(limits.nameLength),
      limit: z.number().int().min(1).max(limits.hubSearchResults).default(30),
    }),
    output: z.object({ models: z.array(hubSearchResultSchema) }),
  },
  /** Licence, sizes, family and what could be fetched; fetches config.json and no weights. */
  'hub.model': {
    input: z.strictObject({ name: repositoryNameSchema, revision: revisionSchema.default('main') }),
    output: hubModelSchema,
  },
  /** Starts a job that fetches a model, or goes on where an earlier one ended. */
  'hub.download': { input: downloadInputSchema, output: z.object({ jobId: identifierSchema }) },
  /** Downloads that have begun and not ended, newest first; needs no network. */
  'hub.unfinished': {
    input: z.strictObject({}),
    output: z.object({ downloads: z.array(unfinishedDownloadSchema) }),
  },
  /** Deletes what an unfinished download has fetched. */
  'hub.discard': { input: z.strictObject({ path: pathSchema }), output: z.object({}) },
};
