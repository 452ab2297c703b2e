/** How two predictions of the next token differ, in plain float64: what the addon's `compareLogits` is checked against. */
export interface PlainComparison {
  originalLoss: number;
  candidateLoss: number;
  divergenceNats: number;
  originalTop: number;
  candidateTop: number;
}

/** @param original, candidate logits `[vocabulary]` of one position */
export function compareLogitsPlainly(
  original: ArrayLike<number>,
  candidate: ArrayLike<number>,
  target: number,
): PlainComparison {
  const p = logProbabilities(original);
  const q = logProbabilities(candidate);
  let divergenceNats = 0;
  for (let token = 0; token < p.length; token++)
    divergenceNats += Math.exp(p[token]!) * (p[token]! - q[token]!);
  return {
    originalLoss: -p[target]!,
    candidateLoss: -q[target]!,
    divergenceNats,
    originalTop: topOf(original),
    candidateTop: topOf(candidate),
  };
}

function logProbabilities(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const maximum = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = values.reduce((total, value) => total + Math.exp(value - maximum), 0);
  return values.map((value) => value - maximum - Math.log(sum));
}

/** The largest; of equals the first. */
function topOf(logits: ArrayLike<number>): number {
  let top = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[top]!) top = token;
  return top;
}
