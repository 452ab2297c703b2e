import { DBellError } from '../contract/errors.ts';
import type { TokenizerDefinition } from './source.ts';
import type { DecodeOptions, TextSegment, Tokenizer, TokenStream } from './tokenizer.ts';
import { AddedTokenMatcher } from './tokenizer-added-tokens.ts';
import { BytePairEncoder } from './tokenizer-bpe.ts';
import { createDecoderFactory, type DecoderFactory } from './tokenizer-decoders.ts';
import { type ParsedTokenizer, parseTokenizerDefinition } from './tokenizer-definition.ts';
import { createNormalizer, type Normalizer } from './tokenizer-normalizers.ts';
import { createPreTokenizer, type PreTokenizer } from './tokenizer-pre-tokenizers.ts';

/**
 * Builds a model's tokenizer from its definition (tokenizer.json and tokenizer_config.json, or what was made from a GGUF's metadata).
 *
 * Ids equal those of the reference implementation (Python `tokenizers`, `add_special_tokens=False`, and `encode_special_tokens=True` where
 * control tokens are not parsed). Throws DBellError `invalid-model` for a malformed definition, or one that does not fit a
 * model of `modelVocabularySize` tokens; `unsupported-model` for components that cannot be reproduced exactly.
 */
export function createTokenizer(
  definition: TokenizerDefinition,
  options: { modelVocabularySize?: number } = {},
): Tokenizer {
  const tokenizer = new DefinedTokenizer(parseTokenizerDefinition(definition.tokenizer));
  const { modelVocabularySize } = options;
  if (modelVocabularySize !== undefined && tokenizer.vocabularySize > modelVocabularySize) {
    const id = tokenizer.vocabularySize - 1;
    throw new DBellError(
      'invalid-model',
      `tokenizer: token ${JSON.stringify(tokenizer.idToToken(id))} has id ${id}, but the model has vocab_size ${modelVocabularySize} (ids up to ${modelVocabularySize - 1}); tokenizer and weights belong to different models`,
    );
  }
  return tokenizer;
}

class DefinedTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly specialIds: ReadonlySet<number>;
  readonly #tokenToId: Map<string, number>;
  readonly #idToToken = new Map<number, string>();
  readonly #normalizer: Normalizer;
  readonly #preTokenizer: PreTokenizer;
  readonly #encoder: BytePairEncoder;
  readonly #rawMatcher: AddedTokenMatcher;
  /** Looks for all added tokens in the raw text: for text of template and content mixed, see encodeSegments. */
  readonly #mixedMatcher: AddedTokenMatcher;
  readonly #normalizedMatcher: AddedTokenMatcher;
  readonly #createDecoder: DecoderFactory;

  constructor(definition: ParsedTokenizer) {
    this.#tokenToId = new Map(definition.vocabulary);
    for (const [token, id] of definition.vocabulary) this.#idToToken.set(id, token);
    for (const { id, content } of definition.addedTokens) {
      this.#tokenToId.set(content, id);
      this.#idToToken.set(id, content);
    }
    let maximum = 0;
    for (const id of this.#idToToken.keys()) if (id > maximum) maximum = id;
    this.vocabularySize = maximum + 1;
    this.specialIds = new Set(
      definition.addedTokens.filter((token) => token.special).map((token) => token.id),
    );
    this.#normalizer = createNormalizer(definition.normalizer);
    this.#preTokenizer = createPreTokenizer(definition.preTokenizer);
    this.#encoder = new BytePairEncoder(definition, this.specialIds);
    this.#createDecoder = createDecoderFactory(definition.decoder);
    const isNormalized = (token: { normalized: boolean }) =>
      token.normalized && definition.normalizer !== null;
    this.#rawMatcher = new AddedTokenMatcher(
      definition.addedTokens.filter((token) => !isNormalized(token)),
      (token) => token.content,
    );
    this.#mixedMatcher = new AddedTokenMatcher(definition.addedTokens, (token) => token.content);
    this.#normalizedMatcher = new AddedTokenMatcher(definition.addedTokens.filter(isNormalized), (token) =>
      this.#normalizer(token.content),
    );
  }

  encode(text: string, options: { parseSpecial?: boolean } = {}): number[] {
    return this.encodeSegments([{ text, parseSpecial: options.parseSpecial ?? false }]);
  }

  encodeSegments(segments: readonly TextSegment[]): number[] {
    // Lone surrogates have no UTF-8 form; every encoder writes U+FFFD for them.
    const parts = segments.map((segment) => segment.text.toWellFormed()).filter((part) => part !== '');
    const kinds = segments.filter((segment) => segment.text !== '').map((segment) => segment.parseSpecial);
    const text = parts.join('');
    const bounds: { start: number; end: number }[] = [];
    let offset = 0;
    parts.forEach((part, index) => {
      if (kinds[index] === true) bounds.push({ start: offset, end: offset + part.length });
      offset += part.length;
    });
    const allowsSpecial = (start: number, end: number) =>
      bounds.some((bound) => bound.start <= start && end <= bound.end);

    // Normalizing loses positions, so where template and content alternate every added token is looked for before it.
    const matcher = new Set(kinds).size > 1 ? this.#mixedMatcher : this.#rawMatcher;
    const ids: number[] = [];
    for (const section of matcher.split(text, allowsSpecial)) {
      if (section.kind === 'token') ids.push(section.id);
      else this.#encodeSection(text, section, allowsSpecial, ids);
    }
    return ids;
  }

  /** Encodes text between two added tokens: normalizes it, finds tokens that are looked for after normalizing, splits, merges. */
  #encodeSection(
    text: string,
    { start, end }: { start: number; end: number },
    allowsSpecial: (start: number, end: number) => boolean,
    ids: number[],
  ): void {
    const normalized = this.#normalizer(text.slice(start, end));
    const allowsAny = allowsSpecial(start, end);
    for (const section of this.#normalizedMatcher.split(normalized, () => allowsAny)) {
      if (section.kind === 'token') ids.push(section.id);
      else {
        const piece = normalized.slice(section.start, section.end);
        for (const preToken of this.#preTokenizer(piece, start === 0 && section.start === 0))
          this.#encoder.encode(preToken, ids);
      }
    }
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    const pieces = ids.map((id) => stream.push(id));
    pieces.push(stream.flush());
    return pieces.join('');
  }

  stream(options: DecodeOptions = {}): TokenStream {
    const decoder = this.#createDecoder({ continuation: options.continuation ?? false });
    return {
      push: (id) => {
        if (options.keepSpecial !== true && this.specialIds.has(id)) return '';
        // Models pad their vocabulary; ids without a token have no text.
        const token = this.#idToToken.get(id);
        return token === undefined ? '' : decoder.push(token);
      },
      flush: () => decoder.flush(),
    };
  }

  tokenToId(token: string): number | null {
    return this.#tokenToId.get(token) ?? null;
  }

  idToToken(id: number): string | null {
    return this.#idToToken.get(id) ?? null;
  }
}
