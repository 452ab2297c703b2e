/**
 * Token windows: N windows of T tokens, each standing alone. `ids` holds them one after another: `[windowCount, context]`.
 */
export interface TokenWindows {
  ids: Int32Array;
  windowCount: number;
  context: number;
  /** Where the tokens come from, for provenance: never a path inside a package. */
  source: {
    /** File name or `bundled:general`. */
    name: string;
    /** SHA-256 of the text's bytes as read, hex. */
    textSha256: string;
    documentCount: number;
    /** Tokens that the whole text has (separators included). */
    totalTokens: number;
    separatorId: number | null;
  };
  /** How windows were chosen: the first N in order, or N drawn without replacement with a seed. */
  selection: { kind: 'first' } | { kind: 'seeded'; seed: number };
  /** SHA-256 over ids, windowCount, context: hex. */
  fingerprint: string;
}
