import { DBellError } from '../contract/errors.ts';
import { byteLevelStep, bytePairModel } from './byte-pair-model.ts';
import { ggufPreTokenizers } from './gguf-tokenizer-pre.ts';
import type { TokenizerDefinition } from './source.ts';

export interface GgufTokenizer extends TokenizerDefinition {
  /** `tokenizer.json` and `tokenizer_config.json` as a package stores them. */
  files: Map<string, Uint8Array>;
  /** Jinja source, or null. */
  chatTemplate: string | null;
  warnings: string[];
}

/** Values of `tokenizer.ggml.token_type`. */
const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface GgufVocabulary {
  tokens: string[];
  types: number[];
  vocabulary: Map<string, number>;
  warnings: string[];
}

interface Metadata {
  get(key: string): unknown;
}

/**
 * Makes the equivalent of tokenizer.json and tokenizer_config.json from a GGUF's metadata (key → value; arrays as arrays or typed arrays).
 * Supported: `tokenizer.ggml.model` gpt2 with the values of `tokenizer.ggml.pre` in gguf-tokenizer-pre.ts, and llama (SentencePiece BPE with
 * scores and byte fallback). Throws DBellError `unsupported-model` naming any other, `invalid-model` for missing or contradicting fields.
 */
export function tokenizerFromGguf(metadata: Metadata): GgufTokenizer {
  const model = metadata.get('tokenizer.ggml.model');
  const vocabulary = readVocabulary(metadata);
  let tokenizer: Record<string, unknown>;
  if (model === 'gpt2') tokenizer = byteLevelTokenizer(metadata, vocabulary);
  else if (model === 'llama') tokenizer = sentencePieceTokenizer(metadata, vocabulary);
  else if (model === undefined)
    throw new DBellError(
      'invalid-model',
      'the GGUF has no tokenizer (tokenizer.ggml.model is missing); use a file that contains one',
    );
  else
    throw new DBellError(
      'unsupported-model',
      `tokenizer.ggml.model ${JSON.stringify(model)} is not supported; supported: gpt2, llama`,
    );
  const config = tokenizerConfig(metadata, vocabulary);
  const chatTemplate = metadata.get('tokenizer.chat_template');
  if (typeof chatTemplate === 'string') config.chat_template = chatTemplate;
  return {
    tokenizer,
    config,
    files: new Map([
      ['tokenizer.json', jsonBytes(tokenizer)],
      ['tokenizer_config.json', jsonBytes(config)],
    ]),
    chatTemplate: typeof chatTemplate === 'string' ? chatTemplate : null,
    warnings: vocabulary.warnings,
  };
}

function byteLevelTokenizer(metadata: Metadata, vocabulary: GgufVocabulary): Record<string, unknown> {
  const name = metadata.get('tokenizer.ggml.pre') ?? 'default';
  const pre =
    typeof name === 'string' && Object.hasOwn(ggufPreTokenizers, name) ? ggufPreTokenizers[name] : undefined;
  if (pre === undefined)
    throw new DBellError(
      'unsupported-model',
      `tokenizer.ggml.pre ${JSON.stringify(name)} is not known; supported: ${Object.keys(ggufPreTokenizers).join(', ')}`,
    );
  const merges = stringList(metadata, 'tokenizer.ggml.merges').map((merge, index) => {
    const space = merge.indexOf(' ', 1);
    if (space === -1 || space === merge.length - 1)
      throw new DBellError(
        'invalid-model',
        `tokenizer.ggml.merges[${index}] is ${JSON.stringify(merge.slice(0, 60))}; expected two tokens with a blank between`,
      );
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: pre.normalizer,
    pre_tokenizer: pre.preTokenizer,
    post_processor: beginOfTextTemplate(metadata, vocabulary, pre.addBeginOfText),
    decoder: byteLevelStep(true),
    model: bytePairModel(Object.fromEntries(vocabulary.vocabulary), merges, {
      ignore_merges: pre.ignoreMerges,
    }),
  };
}

/**
 * SentencePiece's BPE merges whichever neighbours form the piece with the highest score. As ranked merges: every way to split a piece
 * into two pieces, by descending score.
 */
function sentencePieceTokenizer(metadata: Metadata, vocabulary: GgufVocabulary): Record<string, unknown> {
  const scores = numberList(metadata, 'tokenizer.ggml.scores');
  if (scores.length !== vocabulary.tokens.length)
    throw new DBellError(
      'invalid-model',
      `tokenizer.ggml.scores has ${scores.length} entries, tokenizer.ggml.tokens ${vocabulary.tokens.length}`,
    );
  const unknownId = metadata.get('tokenizer.ggml.unknown_token_id') ?? 0;
  const unknownToken = typeof unknownId === 'number' ? vocabulary.tokens[unknownId] : undefined;
  if (unknownToken === undefined)
    throw new DBellError(
      'invalid-model',
      `tokenizer.ggml.unknown_token_id is ${String(unknownId)}, outside of the ${vocabulary.tokens.length} tokens`,
    );
  const prefix = metadata.get('tokenizer.ggml.add_space_prefix') !== false;
  const blanks = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const decoders: object[] = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ];
  if (prefix) decoders.push({ type: 'Strip', content: ' ', start: 1, stop: 0 });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: prefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, blanks] }
      : { type: 'Sequence', normalizers: [blanks] },
    pre_tokenizer: null,
    post_processor: beginOfTextTemplate(metadata, vocabulary, true),
    decoder: { type: 'Sequence', decoders },
    model: bytePairModel(Object.fromEntries(vocabulary.vocabulary), mergesFromScores(vocabulary, scores), {
      unk_token: unknownToken,
      fuse_unk: true,
      byte_fallback: true,
    }),
  };
}

function mergesFromScores({ vocabulary, types }: GgufVocabulary, scores: number[]): string[][] {
  const isMergeable = (id: number) => types[id] === tokenTypes.normal || types[id] === tokenTypes.userDefined;
  const merges: { left: string; right: string; score: number }[] = [];
  for (const [piece, id] of vocabulary) {
    if (types[id] !== tokenTypes.normal) continue;
    for (let at = 1; at < piece.length; at++) {
      const left = piece.slice(0, at);
      const right = piece.slice(at);
      const leftId = vocabulary.get(left);
      const rightId = vocabulary.get(right);
      if (leftId === undefined || rightId === undefined) continue;
      if (isMergeable(leftId) && isMergeable(rightId))
        merges.push({ left, right, score: scores[id] as number });
    }
  }
  merges.sort(
    (a, b) => b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length,
  );
  return merges.map(({ left, right }) => [left, right]);
}

function addedTokens({ tokens, types, vocabulary }: GgufVocabulary): object[] {
  return tokens.flatMap((content, id) => {
    const type = types[id];
    const isSpecial = type === tokenTypes.control || type === tokenTypes.unknown;
    if ((!isSpecial && type !== tokenTypes.userDefined) || vocabulary.get(content) !== id) return [];
    return [
      {
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: isSpecial,
      },
    ];
  });
}

function readVocabulary(metadata: Metadata): GgufVocabulary {
  const tokens = stringList(metadata, 'tokenizer.ggml.tokens');
  const types =
    metadata.get('tokenizer.ggml.token_type') === undefined
      ? tokens.map((): number => tokenTypes.normal)
      : numberList(metadata, 'tokenizer.ggml.token_type');
  if (types.length !== tokens.length)
    throw new DBellError(
      'invalid-model',
      `tokenizer.ggml.token_type has ${types.length} entries, tokenizer.ggml.tokens ${tokens.length}`,
    );
  const vocabulary = new Map<string, number>();
  const warnings: string[] = [];
  tokens.forEach((token, id) => {
    // Fillers that round a vocabulary up; no text leads to them.
    if (types[id] === tokenTypes.unused || token === '') return;
    const other = vocabulary.get(token);
    if (other === undefined) vocabulary.set(token, id);
    else
      warnings.push(
        `tokenizer.ggml.tokens: ${JSON.stringify(token.slice(0, 60))} has the ids ${other} and ${id}; text is encoded with ${other}`,
      );
  });
  return { tokens, types, vocabulary, warnings };
}

function tokenizerConfig(metadata: Metadata, { tokens }: GgufVocabulary): Record<string, unknown> {
  const config: Record<string, unknown> = {
    clean_up_tokenization_spaces: false,
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
  const roles = {
    bos_token: 'tokenizer.ggml.bos_token_id',
    eos_token: 'tokenizer.ggml.eos_token_id',
    unk_token: 'tokenizer.ggml.unknown_token_id',
    pad_token: 'tokenizer.ggml.padding_token_id',
  };
  for (const [role, key] of Object.entries(roles)) {
    const id = metadata.get(key);
    if (id === undefined) continue;
    const token = typeof id === 'number' ? tokens[id] : undefined;
    if (token === undefined)
      throw new DBellError(
        'invalid-model',
        `${key} is ${String(id)}, outside of the ${tokens.length} tokens`,
      );
    config[role] = token;
  }
  for (const field of ['add_bos_token', 'add_eos_token']) {
    const value = metadata.get(`tokenizer.ggml.${field}`);
    if (typeof value === 'boolean') config[field] = value;
  }
  return config;
}

/** Puts the begin-of-text token in front for other programs that read the package; this one adds no special tokens itself. */
function beginOfTextTemplate(
  metadata: Metadata,
  { tokens }: GgufVocabulary,
  byDefault: boolean,
): object | null {
  const id = metadata.get('tokenizer.ggml.bos_token_id');
  if (typeof id !== 'number' || !((metadata.get('tokenizer.ggml.add_bos_token') ?? byDefault) === true))
    return null;
  const token = tokens[id];
  if (token === undefined) return null;
  const begin = { SpecialToken: { id: token, type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [begin, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [begin, { Sequence: { id: 'A', type_id: 0 } }, begin, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}

function stringList(metadata: Metadata, key: string): string[] {
  const value = metadata.get(key);
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value;
  throw new DBellError(
    'invalid-model',
    `${key} is ${value === undefined ? 'missing' : 'not a list of strings'}`,
  );
}

function numberList(metadata: Metadata, key: string): number[] {
  const value = metadata.get(key);
  const list: unknown[] | null = Array.isArray(value)
    ? value
    : ArrayBuffer.isView(value) && !(value instanceof DataView)
      ? Array.from(value as Float32Array | Int32Array)
      : null;
  if (list?.every((entry) => typeof entry === 'number' && Number.isFinite(entry))) return list as number[];
  throw new DBellError(
    'invalid-model',
    `${key} is ${value === undefined ? 'missing' : 'not a list of numbers'}`,
  );
}

function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}
