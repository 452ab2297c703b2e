import { listFiles, listModels, modelInfo } from '@huggingface/hub';
import { z } from 'zod';
import { parseAs } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import type { Gated } from '../contract/hub.ts';
import { fetchBytes, type HubConnection } from './connection.ts';
import { shortly } from './failures.ts';
import { hubLimits } from './limits.ts';
import type { RepositoryFile } from './repository-file.ts';

/** What the Hub's programming interface says, checked: a mirror may say anything. */

const gatedSchema = z
  .union([z.literal(false), z.literal('auto'), z.literal('manual')])
  .transform((value): Gated => (value === false ? 'no' : value));

/** A field that only informs: what is not as expected counts as not said. */
const orNull = <T extends z.ZodType>(schema: T) => schema.nullish().catch(null);

const commonFields = {
  gated: gatedSchema.catch('no'),
  downloads: z.number().int().nonnegative().catch(0),
  likes: z.number().int().nonnegative().catch(0),
  updatedAt: z.date().nullable().catch(null),
  tags: orNull(z.array(z.string())),
  config: orNull(z.object({ model_type: orNull(z.string()) })),
  safetensors: orNull(
    z.object({
      parameters: z.record(z.string(), z.number().nonnegative()),
      total: z.number().int().nonnegative(),
    }),
  ),
  cardData: orNull(z.object({ license: z.union([z.string(), z.array(z.string())]) })),
};

const listedModelSchema = z.object({ name: z.string(), ...commonFields });
export type ListedModel = z.output<typeof listedModelSchema>;

const modelInfoSchema = z.object({
  ...commonFields,
  name: z.string(),
  sha: z.string().regex(/^[0-9a-f]{40,64}$/, 'not the hash of a commit'),
});
export type ModelInfo = z.output<typeof modelInfoSchema>;

const sizeSchema = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const listedFileSchema = z.object({
  path: z.string().min(1),
  size: sizeSchema,
  oid: z.string().regex(/^[0-9a-f]{40}$/, 'not a SHA-1 in lower-case hexadecimal'),
  lfs: z
    .object({
      oid: z.string().regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in lower-case hexadecimal'),
      size: sizeSchema,
    })
    .optional(),
});

/** Up to `limit` models whose name matches, most downloaded first. Names that are no names are left out. */
export async function findModels(
  connection: HubConnection,
  query: string,
  limit: number,
): Promise<ListedModel[]> {
  const found = listModels({
    search: { query },
    sort: 'downloads',
    limit,
    additionalFields: ['tags', 'config', 'safetensors', 'cardData'],
    hubUrl: connection.endpoint,
    fetch: apiFetch(connection, `search for ${JSON.stringify(shortly(query))}`),
  });
  return inWords(connection, async () => {
    const models: ListedModel[] = [];
    for await (const entry of found) {
      const model = listedModelSchema.safeParse(withoutInvalidDate(entry));
      if (model.success) models.push(model.data);
    }
    return models;
  });
}

export async function readModelInfo(
  connection: HubConnection,
  name: string,
  revision: string,
): Promise<ModelInfo> {
  return inWords(connection, async () => {
    const info = await modelInfo({
      name,
      revision,
      additionalFields: ['sha', 'tags', 'config', 'safetensors', 'cardData'],
      hubUrl: connection.endpoint,
      fetch: apiFetch(connection, revision === 'main' ? name : `${name} at ${revision}`),
    });
    return parseAs(
      modelInfoSchema,
      withoutInvalidDate(info),
      `what ${connection.endpoint} says of ${name}`,
      'network-error',
    );
  });
}

/** All files of a commit, folders left out. */
export async function listRepositoryFiles(
  connection: HubConnection,
  name: string,
  commit: string,
): Promise<RepositoryFile[]> {
  return inWords(connection, async () => {
    const files: RepositoryFile[] = [];
    const listed = listFiles({
      repo: { type: 'model', name },
      revision: commit,
      recursive: true,
      hubUrl: connection.endpoint,
      fetch: apiFetch(connection, `${name}: list of files`),
    });
    for await (const entry of listed) {
      if (entry.type !== 'file') continue;
      const file = parseAs(listedFileSchema, entry, `list of files of ${name}`, 'network-error');
      // Git has no such names; in an address they would lead elsewhere.
      if (file.path.split('/').some((part) => part === '' || part === '.' || part === '..')) continue;
      if (files.length === hubLimits.listedFiles) {
        throw new DBellError(
          'network-error',
          `${name} has more than ${hubLimits.listedFiles} files, the limit here`,
        );
      }
      files.push({
        path: file.path,
        bytes: file.lfs?.size ?? file.size,
        hash: file.lfs ? { kind: 'sha256', value: file.lfs.oid } : { kind: 'git-blob-sha1', value: file.oid },
      });
    }
    return files;
  });
}

/** Where a file's content is. */
export function fileAddress({ endpoint }: HubConnection, name: string, commit: string, file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${name}/resolve/${encodeURIComponent(commit)}/${path}`;
}

/** The library's way to the network: bounded, tried again, with our rules and our words. */
function apiFetch(connection: HubConnection, what: string): typeof fetch {
  return async (input) => {
    const address = String(input instanceof Request ? input.url : input);
    // The next page of a listing is wherever the answer says; it has no business elsewhere.
    if (URL.parse(address)?.origin !== new URL(connection.endpoint).origin) {
      throw new DBellError(
        'network-error',
        `${what}: the list goes on at ${shortly(address)}, another server`,
      );
    }
    const { bytes, response } = await fetchBytes(connection, address, {
      what,
      headers: { accept: 'application/json' },
      maximumBytes: hubLimits.apiResponseBytes,
    });
    const link = response.headers.get('link');
    return new Response(Buffer.from(bytes), { status: 200, headers: link === null ? {} : { link } });
  };
}

/** Whatever the library makes of an answer that is none. */
async function inWords<T>({ endpoint }: HubConnection, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof DBellError) throw cause;
    throw new DBellError(
      'network-error',
      `${endpoint} does not answer as the Hugging Face Hub does: ${cause instanceof Error ? shortly(cause.message) : String(cause)}; check the address of the server`,
      { cause },
    );
  }
}

function withoutInvalidDate<T extends { updatedAt: Date }>(
  entry: T,
): Omit<T, 'updatedAt'> & { updatedAt: Date | null } {
  return { ...entry, updatedAt: Number.isNaN(entry.updatedAt.getTime()) ? null : entry.updatedAt };
}
