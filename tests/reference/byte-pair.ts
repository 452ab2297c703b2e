/**
 * Byte-pair encoding as its definition reads: again and again, of all adjacent pairs merge the one that stands first in the merge list, leftmost
 * first. Quadratic and plain.
 */
export function bytePairPlain(
  text: string,
  vocabulary: ReadonlyMap<string, number>,
  merges: readonly (readonly [string, string])[],
): number[] {
  const ranks = new Map(merges.map(([left, right], rank) => [`${left}\0${right}`, rank]));
  const symbols = [...text];
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let index = 0; index + 1 < symbols.length; index++) {
      const rank = ranks.get(`${symbols[index]}\0${symbols[index + 1]}`);
      if (rank !== undefined && rank < bestRank) {
        best = index;
        bestRank = rank;
      }
    }
    if (best === -1) return symbols.map((symbol) => vocabulary.get(symbol) as number);
    symbols.splice(best, 2, `${symbols[best]}${symbols[best + 1]}`);
  }
}
