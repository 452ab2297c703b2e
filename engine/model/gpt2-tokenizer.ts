import { DBellError } from '../contract/errors.ts';
import { byteLevelStep, bytePairModel } from './byte-pair-model.ts';
import { roleTokens } from './tokenizer-definition.ts';

/** Classes whose pair of files means GPT-2's own way of splitting text. */
const supportedClasses: readonly unknown[] = ['GPT2Tokenizer', 'GPT2TokenizerFast', undefined, null];

/**
 * Makes the equivalent of tokenizer.json from GPT-2's pair of files, `vocab.json` and `merges.txt`, which older models (OPT) have alone. `specialTokensMap`
 * is special_tokens_map.json where there is one. Throws DBellError `unsupported-model` for a tokenizer class that splits in another way, `invalid-model` for a bad merge.
 */
export function tokenizerFromVocabularyAndMerges(
  vocabulary: Record<string, unknown>,
  mergesText: string,
  config: Record<string, unknown>,
  specialTokensMap: Record<string, unknown>,
): Record<string, unknown> {
  if (!supportedClasses.includes(config.tokenizer_class))
    throw new DBellError(
      'unsupported-model',
      `the tokenizer ${String(config.tokenizer_class)} is there as vocab.json and merges.txt only; save it as tokenizer.json (the "fast" format) first`,
    );
  const contents = new Set(
    [specialTokensMap, config]
      .flatMap((source) => Object.values(roleTokens(source)))
      .filter((token) => token !== null),
  );
  const addedTokens = [...contents].flatMap((content) => {
    const id = Object.hasOwn(vocabulary, content) ? vocabulary[content] : undefined;
    if (typeof id !== 'number') return [];
    return [
      { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ];
  });
  addedTokens.sort((a, b) => a.id - b.id);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: byteLevelStep(config.add_prefix_space === true),
    post_processor: null,
    decoder: byteLevelStep(true),
    model: bytePairModel(vocabulary, parseMerges(mergesText)),
  };
}

/** Lines of two tokens each; the first line may name the format's version. */
function parseMerges(text: string): string[][] {
  const merges: string[][] = [];
  text.split('\n').forEach((line, index) => {
    const entry = line.replace(/\r$/, '');
    if (entry === '' || (index === 0 && entry.startsWith('#version'))) return;
    const parts = entry.split(' ');
    if (parts.length !== 2 || parts.includes(''))
      throw new DBellError(
        'invalid-model',
        `merges.txt, line ${index + 1}: ${JSON.stringify(entry.slice(0, 60))} is not two tokens with a blank between`,
      );
    merges.push(parts);
  });
  return merges;
}
