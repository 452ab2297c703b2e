import { posix } from 'node:path';
import { DBellError } from '../contract/errors.ts';
import type { HubModel, HubSearchResult } from '../contract/hub.ts';
import { repositoryNameSchema } from '../contract/hub.ts';
import { ConfigReader } from '../model/config-reader.ts';
import { describeModel, families } from '../model/families/index.ts';
import { glanceAtGgufArchitecture } from '../model/gguf/glance.ts';
import { JsonError, parseJsonObject } from '../model/json.ts';
import { MAX_CONFIG_BYTES, MAX_INDEX_BYTES } from '../model/limits.ts';
import { ProblemList } from '../model/problems.ts';
import { fileAddress, findModels, type ListedModel, listRepositoryFiles, readModelInfo } from './api.ts';
import { type FileChoice, folderChoice, ggufChoices, indexName, weightFileNames } from './choices.ts';
import { bodyChunks, fetchBytes, type HubConnection, request } from './connection.ts';
import { refusalOf, shortly, TransientFailure } from './failures.ts';
import { hubLimits } from './limits.ts';
import { bytesOfFiles, type RepositoryFile } from './repository-file.ts';

/** What is known of a repository's commit, and the ways to have its model. */
export interface Repository {
  description: HubModel;
  choices: FileChoice[];
}

/** Models by name, most downloaded first. */
export async function searchModels(
  connection: HubConnection,
  query: string,
  limit: number,
): Promise<HubSearchResult[]> {
  const found = await findModels(connection, query, limit);
  return found
    .filter(({ name }) => repositoryNameSchema.safeParse(name).success)
    .map((model) => ({
      ...summaryOf(model),
      weightBytes: weightBytes(model.safetensors?.parameters),
      supported: supportOf(model.config?.model_type ?? null),
      hasGguf: model.tags?.includes('gguf') ?? false,
    }));
}

function summaryOf(model: ListedModel) {
  return {
    name: model.name,
    license: licenseOf(model),
    gated: model.gated,
    downloads: model.downloads,
    likes: model.likes,
    updatedAt: model.updatedAt?.toISOString() ?? null,
    parameters: model.safetensors?.total ?? null,
    modelType: modelTypeOf(model.config),
  };
}

function licenseOf({ tags, cardData }: ListedModel): string | null {
  const tag = tags?.find((candidate) => candidate.startsWith('license:'));
  if (tag !== undefined) return shortly(tag.slice('license:'.length));
  const license = cardData?.license;
  return license === undefined ? null : shortly(Array.isArray(license) ? license.join(', ') : license);
}

function modelTypeOf(config: ListedModel['config']): string | null {
  return typeof config?.model_type === 'string' ? shortly(config.model_type) : null;
}

/** Whether the family of a `model_type` is read here; null where none is named. */
function supportOf(modelType: string | null): boolean | null {
  return modelType === null ? null : families.some(({ modelTypes }) => modelTypes.includes(modelType));
}

/** Bits of an element by the Hub's name of its type: `BF16`, `F8_E4M3`, `U8`. */
function bitsOf(type: string): number | null {
  const digits = /^(?:BF|F|I|U)(\d{1,2})(?:_|$)/.exec(type)?.[1];
  return type === 'BOOL' ? 8 : digits === undefined ? null : Number(digits);
}

function weightBytes(parameters: Record<string, number> | undefined): number | null {
  if (parameters === undefined) return null;
  let bytes = 0;
  for (const [type, count] of Object.entries(parameters)) {
    const bits = bitsOf(type);
    if (bits === null) return null;
    bytes += (count * bits) / 8;
  }
  return Number.isSafeInteger(Math.ceil(bytes)) ? Math.ceil(bytes) : null;
}

/**
 * Describes a repository at a revision: licence, sizes, family, choices. Fetches its listing, config.json, the index of its shards and the first bytes of one
 * GGUF file; no weights. What is wrong with the model is recorded in `problems`.
 *
 * @throws DBellError `not-found`, `access-denied`, `network-error`, `stopped`
 */
export async function describeRepository(
  connection: HubConnection,
  name: string,
  revision: string,
): Promise<Repository> {
  const info = await readModelInfo(connection, name, revision);
  const files = await listRepositoryFiles(connection, name, info.sha);
  const read = (path: string, maximumBytes: number) =>
    readJson(connection, { name, commit: info.sha, path, maximumBytes });
  const problems = new ProblemList();
  const ggufs = ggufChoices(files);
  const choices: FileChoice[] = [];
  let supported: boolean | null = null;
  let modelType = modelTypeOf(info.config);

  const has = (path: string) => files.some((file) => file.path === path);
  const isGatedShut = { value: false };
  const config = has('config.json')
    ? await orGated(() => read('config.json', MAX_CONFIG_BYTES), isGatedShut)
    : null;
  if (config !== null) {
    if (typeof config.model_type === 'string') modelType = shortly(config.model_type);
    supported = describeModel(new ConfigReader(config, problems)) !== null;
  }
  const index =
    has(indexName) && !has('model.safetensors')
      ? await orGated(() => read(indexName, MAX_INDEX_BYTES), isGatedShut)
      : null;
  if (isGatedShut.value) {
    problems.error(
      'gated',
      `${name} is gated: accept its licence on its page, then give the access token of that account`,
    );
  } else if (has('config.json') || ggufs.length === 0) {
    const weights = weightFileNames(files, index);
    if (!('problem' in weights)) choices.push(folderChoice(files, weights.names));
    else if (ggufs.length === 0 || !weights.isMissing) problems.error('not-found', weights.problem);
  }
  const [firstGguf] = ggufs;
  if (firstGguf !== undefined && choices.length === 0 && !isGatedShut.value) {
    const architecture = await glance(connection, name, info.sha, firstGguf.files[0]!);
    modelType = architecture === null ? modelType : shortly(architecture);
    supported =
      architecture === null
        ? null
        : families.some(({ ggufArchitectures }) => ggufArchitectures.includes(architecture));
    if (supported === false) {
      problems.error(
        'unsupported-family',
        `${posix.basename(firstGguf.file!)}: general.architecture ${JSON.stringify(architecture)} is not supported; supported are ${families.flatMap((family) => family.ggufArchitectures).join(', ')}`,
      );
    }
  }
  choices.push(...ggufs);
  return {
    choices,
    description: {
      ...summaryOf(info),
      // As it was asked for: the server may write it otherwise, or be wrong.
      name,
      modelType,
      commit: info.sha,
      page: `${connection.endpoint}/${name}`,
      supported,
      problems: problems.items,
      choices: choices.map(({ format, file, files: needed }) => ({
        format,
        file,
        bytes: bytesOfFiles(needed),
        files: needed.map(({ path, bytes }) => ({ path, bytes })),
      })),
    },
  };
}

/** Null, with `shut` set, where the licence must be accepted first. */
async function orGated<T>(work: () => Promise<T>, shut: { value: boolean }): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DBellError) || error.code !== 'access-denied') throw error;
    shut.value = true;
    return null;
  }
}

async function readJson(
  connection: HubConnection,
  { name, commit, path, maximumBytes }: { name: string; commit: string; path: string; maximumBytes: number },
): Promise<Record<string, unknown>> {
  const what = `${name}: ${path}`;
  const { bytes } = await fetchBytes(connection, fileAddress(connection, name, commit, path), {
    what,
    maximumBytes,
  });
  try {
    return parseJsonObject(bytes, { uniqueDepth: 2 });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new DBellError('invalid-model', `${what} ${error.message}`);
  }
}

/** The architecture that a GGUF file names in its first bytes; null where they do not tell or cannot be had by themselves. */
async function glance(
  connection: HubConnection,
  name: string,
  commit: string,
  file: RepositoryFile,
): Promise<string | null> {
  const what = `${name}: ${file.path}`;
  const wanted = Math.min(file.bytes, hubLimits.ggufGlanceBytes);
  try {
    const response = await request(connection, fileAddress(connection, name, commit, file.path), {
      what,
      headers: { range: `bytes=0-${wanted - 1}`, 'accept-encoding': 'identity' },
    });
    if (!response.ok) throw await refusalOf(response, connection, what);
    const chunks: Uint8Array[] = [];
    let size = 0;
    const { signal, times } = connection;
    // A server without ranges sends the whole file; the rest is left.
    for await (const chunk of bodyChunks(response, { signal, stallMs: times.stallMs, what })) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= wanted) break;
    }
    return glanceAtGgufArchitecture(Buffer.concat(chunks).subarray(0, wanted));
  } catch (error) {
    // The download itself will tell, after its own attempts.
    if (error instanceof TransientFailure) return null;
    throw error;
  }
}
