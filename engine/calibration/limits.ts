/** Bounds of the text reader, each with its reason. */
export const textLimits = {
  /** Bytes read at a time: large enough to be quick, small beside everything else. */
  chunkBytes: 256 * 1024,
  /**
   * UTF-16 units of one document that are tokenized at once. A longer document is tokenized in parts, so that memory stays bounded; text of this
   * length costs some 100 MB while it is tokenized.
   */
  documentPartLength: 4 * 1024 * 1024,
  /** How far back from that length a line break (else a blank) is looked for. */
  partSearchLength: 64 * 1024,
  /** Files of a folder; more is a wrong folder. */
  maxFolderFiles: 100_000,
  /** Windows times tokens held as 32-bit ids: 2 GiB. */
  maxSelectedTokens: 2 ** 29,
  maxContext: 2 ** 20,
} as const;

/** The line that ends a document of a text file; it may also stand at the end of the document's last line. */
export const documentSeparatorText = '<|endoftext|>';

/** Of text that a model writes itself. */
export const selfTextLimits = {
  /** Tokens of a document before it may end: one that ends at once would leave a window of nothing but beginnings. */
  leastTokens: 8,
} as const;
