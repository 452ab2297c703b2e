import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { issueInWords } from '../contract/wording.ts';
import { tokenizerLimits } from './tokenizer-limits.ts';

/** A component of tokenizer.json (`normalizer`, `pre_tokenizer`, `decoder`); its fields are read by whoever builds it. */
export type Component = { type: string } & Record<string, unknown>;

export interface AddedTokenDefinition {
  id: number;
  content: string;
  /** A control token: recognised in template text only, left out when decoding. */
  special: boolean;
  /** Looked for in the normalized text, after normalizing the token itself. */
  normalized: boolean;
  singleWord: boolean;
  leftStrip: boolean;
  rightStrip: boolean;
}

/** What of tokenizer.json bears on encoding and decoding, validated. */
export interface ParsedTokenizer {
  normalizer: Component | null;
  preTokenizer: Component | null;
  decoder: Component | null;
  addedTokens: AddedTokenDefinition[];
  vocabulary: Map<string, number>;
  /** Pairs in order of rank; entries whose parts or result the vocabulary lacks are left out, as they can never apply. */
  merges: [string, string][];
  unknownToken: string | null;
  fuseUnknown: boolean;
  byteFallback: boolean;
  ignoreMerges: boolean;
}

const componentSchema = z.looseObject({ type: z.string() });
const tokenId = z.int().min(0).max(tokenizerLimits.maxTokenId);

const addedTokenSchema = z.looseObject({
  id: tokenId,
  content: z.string().min(1).max(tokenizerLimits.maxTokenLength),
  special: z.boolean().optional(),
  normalized: z.boolean().optional(),
  single_word: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
});

const tokenizerSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).nullish(),
  normalizer: componentSchema.nullish(),
  pre_tokenizer: componentSchema.nullish(),
  decoder: componentSchema.nullish(),
  model: z.looseObject({
    type: z.string().optional(),
    unk_token: z.string().nullish(),
    fuse_unk: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
    dropout: z.number().nullish(),
  }),
});

function invalid(message: string): DBellError {
  return new DBellError('invalid-model', `tokenizer.json: ${message}`);
}

function unsupported(message: string): DBellError {
  return new DBellError('unsupported-model', `tokenizer.json: ${message}`);
}

/**
 * Validates a parsed tokenizer.json. Throws DBellError `invalid-model` where it is malformed or contradicts itself,
 * `unsupported-model` where it uses a model type other than BPE.
 */
export function parseTokenizerDefinition(json: Record<string, unknown>): ParsedTokenizer {
  const result = tokenizerSchema.safeParse(json, { error: issueInWords });
  if (!result.success) {
    const issue = result.error.issues[0];
    throw invalid(`${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'malformed'}`);
  }
  const { model, added_tokens, normalizer, pre_tokenizer, decoder } = result.data;
  // Files of before 2020 have no type; those that exist are BPE with a merge list.
  const type = model.type ?? ('merges' in model ? 'BPE' : 'unknown');
  if (type !== 'BPE') throw unsupported(`model type ${type} is not supported; supported: BPE`);
  if (model.continuing_subword_prefix)
    throw unsupported(`continuing_subword_prefix "${model.continuing_subword_prefix}" is not supported`);
  if (model.end_of_word_suffix)
    throw unsupported(`end_of_word_suffix "${model.end_of_word_suffix}" is not supported`);
  if (model.dropout) throw unsupported(`dropout ${model.dropout} makes ids random and is not supported`);

  const vocabulary = parseVocabulary(model.vocab);
  const merges = parseMerges(model.merges, vocabulary);
  return {
    normalizer: normalizer ?? null,
    preTokenizer: pre_tokenizer ?? null,
    decoder: decoder ?? null,
    addedTokens: (added_tokens ?? []).map((token) => ({
      id: token.id,
      content: token.content,
      special: token.special ?? false,
      normalized: token.normalized ?? !(token.special ?? false),
      singleWord: token.single_word ?? false,
      leftStrip: token.lstrip ?? false,
      rightStrip: token.rstrip ?? false,
    })),
    vocabulary,
    merges,
    unknownToken: model.unk_token ?? null,
    fuseUnknown: model.fuse_unk ?? false,
    byteFallback: model.byte_fallback ?? false,
    ignoreMerges: model.ignore_merges ?? false,
  };
}

function parseVocabulary(value: unknown): Map<string, number> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('model.vocab is not an object of token → id');
  const vocabulary = new Map<string, number>();
  const owner = new Map<number, string>();
  for (const [token, id] of Object.entries(value)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > tokenizerLimits.maxTokenId)
      throw invalid(
        `model.vocab: id ${String(id)} of "${shown(token)}" is no integer from 0 to ${tokenizerLimits.maxTokenId}`,
      );
    if (token.length > tokenizerLimits.maxTokenLength)
      throw invalid(
        `model.vocab: the token of id ${id} has ${token.length} characters; the limit is ${tokenizerLimits.maxTokenLength}`,
      );
    const other = owner.get(id);
    if (other !== undefined)
      throw invalid(`model.vocab: "${shown(other)}" and "${shown(token)}" have the same id ${id}`);
    owner.set(id, token);
    vocabulary.set(token, id);
  }
  if (vocabulary.size === 0) throw invalid('model.vocab is empty');
  return vocabulary;
}

/** Both forms in use: one string `"a b"` (tokenizers before 0.20) and a pair `["a", "b"]`, whose parts may hold spaces. */
function parseMerges(value: unknown, vocabulary: Map<string, number>): [string, string][] {
  if (!Array.isArray(value)) throw invalid('model.merges is missing or is not a list');
  if (value.length > tokenizerLimits.maxMerges)
    throw invalid(`model.merges has ${value.length} entries; the limit is ${tokenizerLimits.maxMerges}`);
  const merges: [string, string][] = [];
  value.forEach((entry: unknown, index) => {
    const pair = parseMerge(entry);
    if (pair === null)
      throw invalid(
        `model.merges[${index}] is ${shown(JSON.stringify(entry) ?? 'undefined')}; expected "a b" or ["a", "b"]`,
      );
    const [left, right] = pair;
    if (vocabulary.has(left) && vocabulary.has(right) && vocabulary.has(left + right)) merges.push(pair);
  });
  // One entry a byte or character needs no merges; anything larger without them would fall to single characters silently.
  const needsMerges = [...vocabulary.keys()].some((token) => isComposite(token, vocabulary));
  if (merges.length === 0 && needsMerges)
    throw invalid(
      value.length === 0
        ? `model.merges is empty although model.vocab has ${vocabulary.size} entries; words would fall to single characters`
        : `none of the ${value.length} entries of model.merges leads to a token of model.vocab`,
    );
  return merges;
}

/** Whether a token consists of two or more characters that are tokens themselves, so that only a merge makes it. */
function isComposite(token: string, vocabulary: Map<string, number>): boolean {
  const characters = [...token];
  if (characters.length < 2) return false;
  return characters.every((character) => vocabulary.has(character));
}

function parseMerge(entry: unknown): [string, string] | null {
  if (typeof entry === 'string') {
    const space = entry.indexOf(' ');
    if (space <= 0 || space === entry.length - 1 || entry.indexOf(' ', space + 1) !== -1) return null;
    return [entry.slice(0, space), entry.slice(space + 1)];
  }
  if (!Array.isArray(entry) || entry.length !== 2) return null;
  const [left, right] = entry as unknown[];
  if (typeof left !== 'string' || typeof right !== 'string' || left === '' || right === '') return null;
  return [left, right];
}

/** Shortens text from a file for a message. */
function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

export interface RoleTokens {
  beginOfText: string | null;
  endOfText: string | null;
  unknown: string | null;
  padding: string | null;
}

/** The tokens with a role, from tokenizer_config.json (a text, or an object with `content`). */
export function roleTokens(config: Record<string, unknown>): RoleTokens {
  const token = (field: string): string | null => {
    const value = config[field];
    if (typeof value === 'string') return value;
    if (
      typeof value === 'object' &&
      value !== null &&
      'content' in value &&
      typeof value.content === 'string'
    )
      return value.content;
    return null;
  };
  return {
    beginOfText: token('bos_token'),
    endOfText: token('eos_token'),
    unknown: token('unk_token'),
    padding: token('pad_token'),
  };
}
