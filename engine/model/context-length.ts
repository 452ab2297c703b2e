import { DBellError } from '../contract/errors.ts';

/** Why windows of `context` tokens do not fit a model; null where they do. */
export function whyTooLong(context: number, modelContextLength: number): string | null {
  if (context <= modelContextLength) return null;
  return `a window has ${context} tokens, but the model's context length is ${modelContextLength}; choose a smaller context`;
}

/** Throws DBellError `invalid-input` where windows of `context` tokens are longer than the model allows. */
export function checkContext(context: number, modelContextLength: number): void {
  const why = whyTooLong(context, modelContextLength);
  if (why !== null) throw new DBellError('invalid-input', why);
}
