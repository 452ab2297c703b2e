import { createHash } from 'node:crypto';

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
    /** SHA-256 of the text's bytes as read, hex; of a folder: over its files' relative names and hashes. */
    textSha256: string;
    documentCount: number;
    /** Documents too long to be tokenized at once, which were cut at line breaks; their tokens may differ at the seams. */
    cutDocumentCount: number;
    /** Tokens that the whole text has (separators included). */
    totalTokens: number;
    separatorId: number | null;
    /** How it was written, where the model wrote it itself. */
    self?: { seed: number; temperature: number; topP: number; hasConversations: boolean };
  };
  /** How windows were chosen: the first N in order, or N drawn without replacement with a seed. */
  selection: { kind: 'first' } | { kind: 'seeded'; seed: number };
  /** SHA-256 over ids, windowCount, context: hex. */
  fingerprint: string;
}

/** SHA-256 over the shape (two 32-bit integers) and the ids (32-bit, little-endian), hex. */
export function fingerprintOf(ids: Int32Array, windowCount: number, context: number): string {
  const hash = createHash('sha256');
  hash.update(Int32Array.of(windowCount, context));
  hash.update(ids);
  return hash.digest('hex');
}
