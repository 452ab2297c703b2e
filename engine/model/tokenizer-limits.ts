/** Bounds that a tokenizer's definition is held to, each with its reason. */
export const tokenizerLimits = {
  /** Ids stand in 32-bit arrays and in products of two ids (pair keys): 2^26 squared stays an exact double. */
  maxTokenId: 2 ** 26,
  /** A heap key is `rank * 2^31 + position` in one double: 22 + 31 bits. The largest published vocabularies have 2^18. */
  maxMerges: 2 ** 22,
  /** Bytes of one vocabulary entry; the longest real ones are runs of some hundred blanks or signs. */
  maxTokenLength: 65_536,
  /** Nesting of normalizers, pre-tokenizers and decoders; real definitions have 2. */
  maxNesting: 16,
  /** Pre-tokens whose ids are remembered; words repeat, and 2^16 of them cover most of a text. */
  maxCachedPieces: 65_536,
  /** Only pre-tokens up to this length are remembered, which bounds the cache's memory to a few megabytes. */
  maxCachedPieceLength: 64,
} as const;
