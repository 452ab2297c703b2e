import path from 'node:path';
import { linearsOf } from './architecture.ts';
import { assemble } from './assemble.ts';
import { bitNetConfigOf, markOnline, readBitNetSettings, translateBitNet } from './bitnet.ts';
import type { ByteSource } from './byte-source.ts';
import { ConfigReader } from './config-reader.ts';
import { describeModel } from './families/index.ts';
import { readTokenizerFiles } from './huggingface-tokenizer-files.ts';
import { isRecord } from './json.ts';
import { MAX_CONFIG_BYTES, MAX_INDEX_BYTES, MAX_SHARDS } from './limits.ts';
import { ModelFolder } from './model-folder.ts';
import type { OpenedParts } from './opened-model.ts';
import { count, type ProblemList, quote } from './problems.ts';
import { parseSafetensorsHeader } from './safetensors.ts';
import type { WeightLocation } from './weight-location.ts';

const INDEX_NAME = 'model.safetensors.index.json';
const SINGLE_NAME = 'model.safetensors';

/** Formats that are refused, with the reason. */
const refusedFormats: [RegExp, string][] = [
  [/\.(bin|pt|pth|pkl|ckpt)$/, 'holds pickled Python objects, which can run code when they are opened'],
  [/\.h5$/, 'holds TensorFlow weights'],
  [/\.msgpack$/, 'holds Flax weights'],
];

/**
 * Reads a Hugging Face folder: config.json, safetensors (one file or shards with an index) and the tokenizer's files. Code in the folder is never run.
 * Everything that is wrong is recorded in `problems`; the result is null where the model cannot be used. The files it opened are pushed to
 * `sources`, which the caller closes.
 */
export function readHuggingFaceFolder(
  folderPath: string,
  problems: ProblemList,
  sources: ByteSource[],
): OpenedParts | null {
  const folder = new ModelFolder(folderPath, problems);
  const config = folder.readJson('config.json', MAX_CONFIG_BYTES, { uniqueDepth: 2 });
  if (!folder.exists('config.json')) {
    const gguf = folder.names().find((name) => name.toLowerCase().endsWith('.gguf'));
    problems.error(
      'not-found',
      gguf === undefined
        ? 'config.json is missing; a Hugging Face model folder has one'
        : `config.json is missing; to use ${gguf}, give the path of that file`,
      gguf === undefined ? undefined : path.join(folder.path, gguf),
    );
    if (gguf !== undefined) return null;
  }
  const generationConfig = folder.readJson('generation_config.json', MAX_CONFIG_BYTES);
  const reader = config === null ? null : new ConfigReader(config, problems);
  const described = reader === null ? null : describeModel(reader);
  if (
    config !== null &&
    (config.auto_map !== undefined || folder.names().some((name) => name.endsWith('.py')))
  )
    problems.warning('code-ignored', 'the folder brings code of its own, which is never run');
  const stored = readWeightHeaders(folder, problems, sources);
  const tokenizer = readTokenizerFiles(folder, described?.architecture.vocabularySize ?? null, problems);
  if (described === null || reader === null || stored === null || tokenizer === null || config === null)
    return null;

  const quantization = bitNetConfigOf(config);
  const bitNet = quantization === null ? null : readBitNetSettings(quantization, problems);
  if (quantization !== null && bitNet === null) return null;
  const available = bitNet === null ? stored : translateBitNet(stored, bitNet, problems);
  const assembled = assemble(described.family, described.architecture, reader, available, problems);
  if (assembled === null || problems.hasErrors) return null;
  const { architecture, weights, parameterCount } = assembled;
  if (bitNet !== null)
    markOnline(
      weights,
      architecture.blocks.flatMap((block) => linearsOf(block).map((linear) => linear.name)),
      bitNet,
    );
  const generation = new ConfigReader(generationConfig ?? {}, problems, 'generation_config.json');
  const generationIds = generation.tokenIds('eos_token_id', architecture.vocabularySize);
  if (problems.hasErrors) return null;
  const { endOfTextId, ...tokenizerParts } = tokenizer;
  const ids = new Set([...architecture.endOfTextIds, ...generationIds]);
  if (endOfTextId !== null) ids.add(endOfTextId);
  architecture.endOfTextIds = [...ids].sort((a, b) => a - b);
  return {
    path: folder.path,
    format: 'huggingface',
    architecture,
    config: { ...withoutQuantization(config), tie_word_embeddings: architecture.head.tied },
    generationConfig,
    weights,
    parameterCount,
    sources,
    ...tokenizerParts,
    ggufMetadata: null,
    warnings: problems.items,
  };
}

/** The config of the weights as they are read: floats, whatever they were stored as. */
function withoutQuantization(config: Record<string, unknown>): Record<string, unknown> {
  const { quantization_config: _, ...rest } = config;
  return rest;
}

/** Headers of all weight files, by tensor name; null where there are none or they cannot be used. */
function readWeightHeaders(
  folder: ModelFolder,
  problems: ProblemList,
  sources: ByteSource[],
): Map<string, WeightLocation> | null {
  const errorsBefore = problems.errorCount;
  if (folder.exists(SINGLE_NAME)) {
    const stored = new Map<string, WeightLocation>();
    readShard(folder, SINGLE_NAME, problems, sources, stored);
    return problems.errorCount > errorsBefore ? null : stored;
  }
  if (folder.exists(INDEX_NAME)) return readShards(folder, problems, sources);
  const names = folder.names();
  for (const [pattern, reason] of refusedFormats) {
    const name = names.find((candidate) => pattern.test(candidate));
    if (name !== undefined) {
      problems.error('unsupported-format', `${name} ${reason}; convert the model to safetensors`);
      return null;
    }
  }
  const strays = names.filter((name) => name.endsWith('.safetensors'));
  problems.error(
    'not-found',
    strays.length === 0
      ? `no weights: neither ${SINGLE_NAME} nor ${INDEX_NAME} is there`
      : `${strays[0]} is there but neither ${SINGLE_NAME} nor ${INDEX_NAME}; the download is incomplete`,
  );
  return null;
}

function readShard(
  folder: ModelFolder,
  name: string,
  problems: ProblemList,
  sources: ByteSource[],
  stored: Map<string, WeightLocation>,
): Set<string> {
  const found = new Set<string>();
  const source = folder.open(name);
  if (source === null) return found;
  sources.push(source);
  const parsed = parseSafetensorsHeader(source);
  problems.addAll(parsed.problems);
  for (const [tensor, location] of parsed.header?.tensors ?? []) {
    if (stored.has(tensor))
      problems.error(
        'tensor-twice',
        `tensor ${quote(tensor)} is stored in ${stored.get(tensor)!.source.name} and in ${name}`,
      );
    stored.set(tensor, { source, ...location });
    found.add(tensor);
  }
  return found;
}

function readShards(
  folder: ModelFolder,
  problems: ProblemList,
  sources: ByteSource[],
): Map<string, WeightLocation> | null {
  const index = folder.readJson(INDEX_NAME, MAX_INDEX_BYTES, { uniqueDepth: 2 });
  if (index === null) return null;
  if (!isRecord(index.weight_map)) {
    problems.error('index-damaged', `${INDEX_NAME}: weight_map is not an object`);
    return null;
  }
  const tensorsOf = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(index.weight_map)) {
    if (typeof shard !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(shard)) {
      problems.error(
        'index-damaged',
        `${INDEX_NAME}: tensor ${quote(tensor)} lies in ${JSON.stringify(shard)}, which is no safetensors file name`,
      );
      return null;
    }
    const list = tensorsOf.get(shard);
    if (list === undefined) tensorsOf.set(shard, [tensor]);
    else list.push(tensor);
  }
  if (tensorsOf.size > MAX_SHARDS) {
    problems.error(
      'index-damaged',
      `${INDEX_NAME} names ${count(tensorsOf.size)} files, more than the limit of ${count(MAX_SHARDS)}`,
    );
    return null;
  }
  const errorsBefore = problems.errorCount;
  const missing = [...tensorsOf.keys()].filter((name) => !folder.exists(name));
  if (missing.length > 0)
    problems.error(
      'not-found',
      `${missing.length} of ${tensorsOf.size} weight files ${missing.length === 1 ? 'is' : 'are'} missing: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}; complete the download`,
    );
  const stored = new Map<string, WeightLocation>();
  for (const [name, tensors] of [...tensorsOf].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (missing.includes(name)) continue;
    const found = readShard(folder, name, problems, sources, stored);
    const absent = found.size === 0 ? [] : tensors.filter((tensor) => !found.has(tensor));
    if (absent.length > 0)
      problems.error(
        'index-damaged',
        `${INDEX_NAME} says that ${name} holds ${quote(absent[0]!)}${absent.length > 1 ? ` and ${absent.length - 1} more tensors` : ''}, but it does not; the files do not belong together`,
      );
  }
  return problems.errorCount > errorsBefore ? null : stored;
}
