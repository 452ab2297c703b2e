/** Names that a mistyped one may have meant. */

/** So many letters of which one may be wrong. */
const lettersPerMistake = 3;
const mostProposed = 3;

/**
 * Those of `names` that are nearest to `typed`, in their order; none where nothing is near. Of a path such as `compensation.damping` its last part is enough.
 */
export function nearestNames(typed: string, names: readonly string[]): string[] {
  const wanted = typed.toLowerCase();
  const distances = names.map((name) => {
    const whole = name.toLowerCase();
    const last = whole.slice(whole.lastIndexOf('.') + 1);
    return Math.min(editDistance(wanted, whole), editDistance(wanted, last));
  });
  const least = Math.min(...distances);
  if (!(least <= Math.max(1, Math.floor(wanted.length / lettersPerMistake)))) return [];
  return names.filter((_, index) => distances[index] === least).slice(0, mostProposed);
}

/** `did you mean a or b?`, empty where nothing is near. `prefix` is written before each name. */
export function didYouMean(typed: string, names: readonly string[], prefix = ''): string {
  const near = nearestNames(typed, names).map((name) => prefix + name);
  if (near.length === 0) return '';
  const last = near.at(-1) ?? '';
  return near.length === 1
    ? `did you mean ${last}?`
    : `did you mean ${near.slice(0, -1).join(', ')} or ${last}?`;
}

/**
 * Letters to insert, delete, replace or swap with their neighbour (optimal string alignment; Damerau 1964 with each letter changed once).
 */
export function editDistance(a: string, b: string): number {
  // Rows of the table of prefixes: of the letter before last, of the last one, of this one.
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, beforeLast[j - 2]! + 1);
      row.push(least);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
