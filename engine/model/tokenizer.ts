/** A model's own tokenizer; implementation in tokenizer-huggingface.ts. */
export interface Tokenizer {
  /** Highest id + 1. */
  readonly vocabularySize: number;
  /** Ids of control tokens, which plain text never yields and `decode` leaves out. */
  readonly specialIds: ReadonlySet<number>;
  /**
   * Ids of plain text: no special tokens are added. With `parseSpecial` false (the default) text that looks like a control token
   * is encoded as ordinary text; only template text may pass true.
   */
  encode(text: string, options?: { parseSpecial?: boolean }): number[];
  /**
   * Ids of the segments' concatenation, as if it were one text, except that a control token counts only where it lies wholly inside a
   * segment with `parseSpecial`.
   */
  encodeSegments(segments: readonly TextSegment[]): number[];
  /** Text of ids; control tokens are left out unless `keepSpecial`. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** Decodes a stream so that concatenated pieces equal `decode` of all ids; an incomplete character is held back. */
  stream(options?: DecodeOptions): TokenStream;
  /** Id of a token's exact text, or null. */
  tokenToId(token: string): number | null;
  idToToken(id: number): string | null;
}

export interface DecodeOptions {
  keepSpecial?: boolean;
  /**
   * The ids go on from earlier text, so that a first blank is kept: tokenizers that put a blank in front of every text take it away
   * again when they decode.
   */
  continuation?: boolean;
}

export interface TextSegment {
  text: string;
  /** Text of a template; false for what a person or a file supplied. */
  parseSpecial: boolean;
}

export interface TokenStream {
  /** Text that became certain with this id (may be empty). */
  push(id: number): string;
  /** What was held back; call once at the end. */
  flush(): string;
}

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}
