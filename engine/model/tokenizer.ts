/** A model's own tokenizer; implementation in tokenizer-huggingface.ts. */
export interface Tokenizer {
  readonly vocabularySize: number;
  /**
   * Ids of plain text: no special tokens are added. With `parseSpecial` false (the default) text that looks like a control token
   * is encoded as ordinary text; only template text may pass true.
   */
  encode(text: string, options?: { parseSpecial?: boolean }): number[];
  /** Text of ids; control tokens are left out unless `keepSpecial`. */
  decode(ids: readonly number[], options?: { keepSpecial?: boolean }): string;
  /** Decodes a stream so that concatenated pieces equal `decode` of all ids; an incomplete character is held back. */
  stream(): TokenStream;
  /** Id of a token's exact text, or null. */
  tokenToId(token: string): number | null;
  idToToken(id: number): string | null;
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
