/** Pieces of a tokenizer.json that byte-pair encoders share, as the `tokenizers` library writes them. */

/** The step between text and GPT-2's characters for bytes, as pre-tokenizer and as decoder. */
export function byteLevelStep(addPrefixSpace: boolean, useRegex = true): Record<string, unknown> {
  return { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: useRegex };
}

/** The `model` of tokenizer.json: ids by token, merges by rank, each as a pair or with a blank between. `differing` replaces what is not as usual. */
export function bytePairModel(
  vocabulary: Record<string, unknown>,
  merges: readonly (string | string[])[],
  differing: Partial<{
    unk_token: string | null;
    fuse_unk: boolean;
    byte_fallback: boolean;
    ignore_merges: boolean;
  }> = {},
): Record<string, unknown> {
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...differing,
    vocab: vocabulary,
    merges,
  };
}
