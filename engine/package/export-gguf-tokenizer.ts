import { isDeepStrictEqual } from 'node:util';
import { DBellError } from '../contract/errors.ts';
import { type GgufPreTokenizer, ggufPreTokenizers } from '../model/gguf-tokenizer-pre.ts';
import { cannotBeExported, type GgufMetadataValue } from './export-gguf-file.ts';
import type { PackageSource } from './types.ts';

/** Values of `tokenizer.ggml.token_type`. */
const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Below every score that a merge gives. */
const scoreOfUnmerged = -1e9;

/** What of a package the tokenizer's metadata are made from. */
export type TokenizerSource = Pick<PackageSource, 'tokenizer' | 'chatTemplate'> & {
  architecture: Pick<PackageSource['architecture'], 'vocabularySize' | 'beginOfTextId' | 'endOfTextIds'>;
};

type Json = Record<string, unknown>;

/**
 * The package's tokenizer as GGUF metadata: byte-level BPE as `gpt2` with the value of `tokenizer.ggml.pre` that means its splitting, and SentencePiece's BPE
 * with byte fallback as `llama`.
 *
 * @throws DBellError `unsupported-model` naming what GGUF has no value for
 */
export function tokenizerMetadata(source: TokenizerSource): Map<string, GgufMetadataValue> {
  const { tokenizer, config } = source.tokenizer;
  const model = recordOf(tokenizer.model);
  if (model.type !== 'BPE') throw unsupported(`its tokenizer is ${JSON.stringify(model.type)}, not BPE`);
  const vocabulary = readVocabulary(source, model);
  const metadata = new Map<string, GgufMetadataValue>();
  if (model.byte_fallback === true) addSentencePiece(metadata, tokenizer, model, vocabulary);
  else addByteLevel(metadata, tokenizer, model, vocabulary);
  metadata.set('tokenizer.ggml.tokens', { type: 'strings', value: vocabulary.tokens });
  metadata.set('tokenizer.ggml.token_type', { type: 'int32s', value: vocabulary.types });
  addTokenIds(metadata, source, vocabulary);
  const { post_processor: postProcessor } = tokenizer;
  metadata.set('tokenizer.ggml.add_bos_token', {
    type: 'bool',
    value: typeof config.add_bos_token === 'boolean' ? config.add_bos_token : addsBeginOfText(postProcessor),
  });
  if (source.chatTemplate !== null)
    metadata.set('tokenizer.chat_template', { type: 'string', value: source.chatTemplate });
  return metadata;
}

interface Vocabulary {
  tokens: string[];
  types: number[];
  ids: Map<string, number>;
}

function readVocabulary(source: TokenizerSource, model: Json): Vocabulary {
  const size = source.architecture.vocabularySize;
  const tokens = Array.from({ length: size }, (_, id) => `[UNUSED_${id}]`);
  const types = new Array<number>(size).fill(tokenTypes.unused);
  const ids = new Map<string, number>();
  const put = (token: string, id: unknown, type: number) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= size)
      throw new DBellError(
        'invalid-package',
        `tokenizer.json: token ${JSON.stringify(token.slice(0, 60))} has the id ${String(id)}, outside of the vocabulary of ${size}`,
      );
    tokens[id] = token;
    types[id] = type;
    ids.set(token, id);
  };
  for (const [token, id] of Object.entries(recordOf(model.vocab))) {
    const isByte = model.byte_fallback === true && /^<0x[0-9A-F]{2}>$/.test(token);
    put(token, id, isByte ? tokenTypes.byte : tokenTypes.normal);
  }
  const added = Array.isArray(source.tokenizer.tokenizer.added_tokens)
    ? source.tokenizer.tokenizer.added_tokens
    : [];
  for (const entry of added.map(recordOf)) {
    if (typeof entry.content !== 'string') continue;
    const isUnknown = entry.content === model.unk_token;
    put(
      entry.content,
      entry.id,
      isUnknown ? tokenTypes.unknown : entry.special === true ? tokenTypes.control : tokenTypes.userDefined,
    );
  }
  return { tokens, types, ids };
}

/** Merges as pairs; tokenizer.json has them as lists or as texts with a blank. */
function mergesOf(model: Json): [string, string][] {
  const merges: unknown[] = Array.isArray(model.merges) ? model.merges : [];
  return merges.map((merge): [string, string] => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    if (Array.isArray(parts) && parts.length === 2 && parts.every((part) => typeof part === 'string'))
      return parts as [string, string];
    throw new DBellError('invalid-package', 'tokenizer.json: a merge is not a pair of tokens');
  });
}

function addByteLevel(
  metadata: Map<string, GgufMetadataValue>,
  tokenizer: Json,
  model: Json,
  vocabulary: Vocabulary,
): void {
  const pre = preTokenizerName(tokenizer, model);
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
  metadata.set('tokenizer.ggml.pre', { type: 'string', value: pre });
  const merges = mergesOf(model);
  for (const pair of merges)
    if (!vocabulary.ids.has(pair.join('')) || pair.some((part) => part.includes(' ')))
      throw new DBellError(
        'invalid-package',
        `tokenizer.json: the merge ${JSON.stringify(pair)} makes no token of the vocabulary`,
      );
  metadata.set('tokenizer.ggml.merges', { type: 'strings', value: merges.map((pair) => pair.join(' ')) });
}

/** The value of `tokenizer.ggml.pre` that means this tokenizer's normalizer and splitting. */
function preTokenizerName(tokenizer: Json, model: Json): string {
  const own = comparable(tokenizer.normalizer ?? null, tokenizer.pre_tokenizer, model.ignore_merges === true);
  for (const [name, pre] of Object.entries(ggufPreTokenizers))
    if (isDeepStrictEqual(own, comparable(pre.normalizer, pre.preTokenizer, pre.ignoreMerges))) return name;
  throw unsupported(
    'its tokenizer splits text in a way that no value of tokenizer.ggml.pre known here stands for; a wrong one would give wrong tokens silently',
  );
}

/** What decides about the ids, without what only other programs look at. */
function comparable(
  normalizer: unknown,
  preTokenizer: unknown,
  ignoreMerges: GgufPreTokenizer['ignoreMerges'],
): unknown {
  const steps = (value: unknown): Json[] => {
    const record = recordOf(value);
    const parts = record.type === 'Sequence' ? record.pretokenizers : [record];
    return (Array.isArray(parts) ? parts : []).map(recordOf).map((step) => {
      if (step.type !== 'ByteLevel') return step;
      return {
        type: step.type,
        add_prefix_space: step.add_prefix_space ?? true,
        use_regex: step.use_regex ?? true,
      };
    });
  };
  return { normalizer, steps: steps(preTokenizer), ignoreMerges };
}

/** SentencePiece's BPE joins the neighbours whose piece has the highest score: pieces are scored by their first merge. */
function addSentencePiece(
  metadata: Map<string, GgufMetadataValue>,
  tokenizer: Json,
  model: Json,
  { tokens, ids }: Vocabulary,
): void {
  const scores = new Array<number>(tokens.length).fill(scoreOfUnmerged);
  let previous: number | undefined;
  for (const [rank, pair] of mergesOf(model).entries()) {
    const id = ids.get(pair.join(''));
    if (id === undefined)
      throw new DBellError(
        'invalid-package',
        `tokenizer.json: the merge ${JSON.stringify(pair)} makes no token of the vocabulary`,
      );
    const isNew = scores[id] === scoreOfUnmerged;
    if (!isNew && id !== previous)
      throw unsupported(
        `the merges of its tokenizer follow no scores of pieces (${JSON.stringify(pair.join(''))} is made at two places), which GGUF stores in their stead`,
      );
    if (isNew) scores[id] = -rank;
    previous = id;
  }
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'llama' });
  metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'default' });
  metadata.set('tokenizer.ggml.scores', { type: 'float32s', value: scores });
  metadata.set('tokenizer.ggml.add_space_prefix', {
    type: 'bool',
    value: addsSpacePrefix(tokenizer.normalizer, tokenizer.pre_tokenizer),
  });
}

/** Whether a blank is put in front of a text: LLaMA's normalizer prepends it, newer files have a Metaspace step. */
function addsSpacePrefix(normalizer: unknown, preTokenizer: unknown): boolean {
  const record = recordOf(normalizer);
  const steps = record.type === 'Sequence' ? record.normalizers : record.type === undefined ? [] : [record];
  const types = (Array.isArray(steps) ? steps : []).map((step) => String(recordOf(step).type));
  const pre = recordOf(preTokenizer);
  const key = [...types, ...(pre.type === undefined ? [] : [String(pre.type)])].join(' ');
  if (key === 'Prepend Replace') return true;
  if (key === 'Replace') return false;
  if (key === 'Metaspace')
    return pre.prepend_scheme === undefined ? pre.add_prefix_space !== false : pre.prepend_scheme !== 'never';
  throw unsupported(
    `its SentencePiece tokenizer prepares text by ${key === '' ? 'nothing' : key}, which GGUF has no value for`,
  );
}

function addTokenIds(
  metadata: Map<string, GgufMetadataValue>,
  source: TokenizerSource,
  { ids }: Vocabulary,
): void {
  const { config } = source.tokenizer;
  const set = (key: string, id: number | undefined) => {
    if (id !== undefined) metadata.set(`tokenizer.ggml.${key}_token_id`, { type: 'uint32', value: id });
  };
  const named = (role: string): number | undefined => {
    const value = config[role];
    const content = typeof value === 'string' ? value : recordOf(value).content;
    return typeof content === 'string' ? ids.get(content) : undefined;
  };
  const { beginOfTextId, endOfTextIds } = source.architecture;
  set('bos', beginOfTextId ?? named('bos_token'));
  const end = named('eos_token') ?? endOfTextIds[0];
  set('eos', end);
  const others = endOfTextIds.filter((id) => id !== end);
  set('eot', others[0]);
  set('eom', others[1]);
  set('unknown', named('unk_token'));
  set('padding', named('pad_token'));
}

/** Whether a template puts a token in front of the text. */
function addsBeginOfText(postProcessor: unknown): boolean {
  const record = recordOf(postProcessor);
  if (record.type === 'Sequence')
    return Array.isArray(record.processors) && record.processors.some(addsBeginOfText);
  if (record.type !== 'TemplateProcessing' || !Array.isArray(record.single)) return false;
  return recordOf(record.single[0]).SpecialToken !== undefined;
}

function recordOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function unsupported(reason: string): DBellError {
  return new DBellError('unsupported-model', `${cannotBeExported}${reason}`);
}
