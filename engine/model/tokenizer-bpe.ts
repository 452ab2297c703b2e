import type { ParsedTokenizer } from './tokenizer-definition.ts';
import { tokenizerLimits } from './tokenizer-limits.ts';

const positionBits = 2 ** 31;

/**
 * Byte-pair encoding of one pre-token (Sennrich et al. 2016, algorithm 1): of all adjacent pairs the one with the lowest
 * rank is merged, leftmost first, until none is left. A heap of candidate pairs and a linked list of symbols make it
 * O(n log n), so that a text of one huge "word" takes no quadratic time.
 */
export class BytePairEncoder {
  readonly #vocabulary: ReadonlyMap<string, number>;
  /** left * stride + right → rank. */
  readonly #ranks = new Map<number, number>();
  /** Rank → id of the merged token. */
  readonly #mergedIds: Int32Array;
  readonly #stride: number;
  readonly #unknownId: number | null;
  readonly #fuseUnknown: boolean;
  readonly #byteIds: Int32Array | null;
  readonly #ignoreMerges: boolean;
  readonly #specialIds: ReadonlySet<number>;
  readonly #cache = new Map<string, readonly number[]>();

  // Scratch of the longest pre-token so far: symbol ids, and a doubly linked list over them.
  #symbols = new Int32Array(256);
  #next = new Int32Array(256);
  #previous = new Int32Array(256);
  #heap = new Float64Array(512);
  #heapSize = 0;

  /** `specialIds` never come out of plain text by a merge or a whole-word look-up; a token of one character may. */
  constructor(definition: ParsedTokenizer, specialIds: ReadonlySet<number>) {
    const { vocabulary, merges } = definition;
    this.#vocabulary = vocabulary;
    this.#specialIds = specialIds;
    let maximum = 0;
    for (const id of vocabulary.values()) if (id > maximum) maximum = id;
    this.#stride = maximum + 1;
    this.#mergedIds = new Int32Array(merges.length);
    merges.forEach(([left, right], rank) => {
      const merged = vocabulary.get(left + right) as number;
      this.#mergedIds[rank] = merged;
      if (specialIds.has(merged)) return;
      const key = (vocabulary.get(left) as number) * this.#stride + (vocabulary.get(right) as number);
      this.#ranks.set(key, rank);
    });
    this.#unknownId =
      definition.unknownToken === null ? null : (vocabulary.get(definition.unknownToken) ?? null);
    this.#fuseUnknown = definition.fuseUnknown;
    this.#byteIds = definition.byteFallback ? byteFallbackIds(vocabulary) : null;
    this.#ignoreMerges = definition.ignoreMerges;
  }

  /** Appends the ids of a pre-token to `output`. */
  encode(piece: string, output: number[]): void {
    if (this.#ignoreMerges) {
      const whole = this.#vocabulary.get(piece);
      if (whole !== undefined && !this.#specialIds.has(whole)) {
        output.push(whole);
        return;
      }
    }
    const cached = this.#cache.get(piece);
    if (cached !== undefined) {
      for (const id of cached) output.push(id);
      return;
    }
    const start = output.length;
    const count = this.#load(piece);
    this.#merge(count);
    for (let position = count > 0 ? 0 : -1; position !== -1; position = this.#next[position] as number)
      output.push(this.#symbols[position] as number);
    if (piece.length <= tokenizerLimits.maxCachedPieceLength) {
      if (this.#cache.size >= tokenizerLimits.maxCachedPieces) this.#cache.clear();
      this.#cache.set(piece, output.slice(start));
    }
  }

  /** Fills the symbol list with one id a character (or byte token, or unknown token); returns their number. */
  #load(piece: string): number {
    this.#reserve(piece.length * 3);
    const symbols = this.#symbols;
    let count = 0;
    let unknownPending = false;
    for (const character of piece) {
      const id = this.#vocabulary.get(character);
      if (id !== undefined) {
        if (unknownPending) {
          symbols[count++] = this.#unknownId as number;
          unknownPending = false;
        }
        symbols[count++] = id;
        continue;
      }
      if (this.#byteIds !== null) {
        const bytes = Buffer.from(character, 'utf8');
        if (bytes.every((byte) => this.#byteIds?.[byte] !== -1)) {
          for (const byte of bytes) symbols[count++] = this.#byteIds[byte] as number;
          continue;
        }
      }
      if (this.#unknownId === null) continue;
      // The reference holds an unknown back until the next known character, so that a run can become one token.
      if (unknownPending && !this.#fuseUnknown) symbols[count++] = this.#unknownId;
      unknownPending = true;
    }
    if (unknownPending) symbols[count++] = this.#unknownId as number;
    return count;
  }

  #merge(count: number): void {
    const symbols = this.#symbols;
    const next = this.#next;
    const previous = this.#previous;
    for (let position = 0; position < count; position++) {
      next[position] = position + 1 < count ? position + 1 : -1;
      previous[position] = position - 1;
    }
    this.#heapSize = 0;
    for (let position = 0; position + 1 < count; position++) this.#consider(position);
    while (this.#heapSize > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / positionBits);
      const position = key - rank * positionBits;
      const right = next[position] as number;
      // A symbol that was merged into its left neighbour is marked -1; a pair that changed since is stale.
      if (symbols[position] === -1 || right === -1) continue;
      const current = this.#ranks.get(
        (symbols[position] as number) * this.#stride + (symbols[right] as number),
      );
      const merged = this.#mergedIds[rank] as number;
      if (current === undefined || this.#mergedIds[current] !== merged) continue;
      symbols[position] = merged;
      symbols[right] = -1;
      const after = next[right] as number;
      next[position] = after;
      if (after !== -1) previous[after] = position;
      if (previous[position] !== -1) this.#consider(previous[position] as number);
      if (after !== -1) this.#consider(position);
    }
  }

  /** Puts the pair that begins at `position` on the heap if it can be merged. */
  #consider(position: number): void {
    const right = this.#next[position] as number;
    const rank = this.#ranks.get(
      (this.#symbols[position] as number) * this.#stride + (this.#symbols[right] as number),
    );
    if (rank === undefined) return;
    if (this.#heapSize === this.#heap.length) {
      const larger = new Float64Array(this.#heap.length * 2);
      larger.set(this.#heap);
      this.#heap = larger;
    }
    const heap = this.#heap;
    const key = rank * positionBits + position;
    let slot = this.#heapSize++;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if ((heap[parent] as number) <= key) break;
      heap[slot] = heap[parent] as number;
      slot = parent;
    }
    heap[slot] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0] as number;
    const last = heap[--this.#heapSize] as number;
    let slot = 0;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= this.#heapSize) break;
      if (child + 1 < this.#heapSize && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= last) break;
      heap[slot] = heap[child] as number;
      slot = child;
    }
    heap[slot] = last;
    return top;
  }

  #reserve(size: number): void {
    if (this.#symbols.length >= size) return;
    const capacity = Math.max(size, this.#symbols.length * 2);
    this.#symbols = new Int32Array(capacity);
    this.#next = new Int32Array(capacity);
    this.#previous = new Int32Array(capacity);
  }
}

/** Ids of `<0x00>` … `<0xFF>`, −1 where the vocabulary lacks one. */
function byteFallbackIds(vocabulary: ReadonlyMap<string, number>): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => vocabulary.get(byteTokenName(byte)) ?? -1);
}

/** SentencePiece's name of a byte token, such as `<0x0A>`. */
export function byteTokenName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}
