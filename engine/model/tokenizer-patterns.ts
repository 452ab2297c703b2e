import * as library from '@huggingface/tokenizers';
import { DBellError } from '../contract/errors.ts';

// The package's type declarations import without file names, which Node's own module resolution cannot follow.
const { SplitPreTokenizer } = library as unknown as {
  SplitPreTokenizer: new (config: Record<string, unknown>) => { pattern: RegExp | null };
};

/** Unicode's White_Space, which is what the reference's regular expressions mean by \s; JavaScript's \s differs at U+0085 and U+FEFF. */
export const whiteSpace = '\\p{White_Space}';

/**
 * Compiles a `pattern` field of tokenizer.json (`{"String": …}` or `{"Regex": …}`), with flags g and u. Regular expressions are
 * written for Oniguruma and translated. Throws DBellError `unsupported-model` naming a pattern that has no equal in JavaScript.
 */
export function compilePattern(pattern: unknown, where: string): RegExp {
  if (typeof pattern === 'object' && pattern !== null) {
    if ('String' in pattern && typeof pattern.String === 'string')
      return new RegExp(pattern.String.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'gu');
    if ('Regex' in pattern && typeof pattern.Regex === 'string')
      return compileOniguruma(pattern.Regex, where);
  }
  throw new DBellError(
    'invalid-model',
    `tokenizer.json: ${where}.pattern is neither {"String": …} nor {"Regex": …}`,
  );
}

function compileOniguruma(source: string, where: string): RegExp {
  let failure: unknown = null;
  try {
    // The library's translator is reachable through its pre-tokenizer only.
    const { pattern } = new SplitPreTokenizer({
      type: 'Split',
      pattern: { Regex: source },
      behavior: 'Isolated',
      invert: false,
    });
    if (pattern !== null) return pattern;
  } catch (error) {
    failure = error;
  }
  const reason = failure instanceof Error ? `: ${failure.message}` : '';
  throw new DBellError(
    'unsupported-model',
    `tokenizer.json: ${where}: the regular expression ${JSON.stringify(source.slice(0, 200))} cannot be used here${reason}`,
    { cause: failure },
  );
}

export interface PatternMatch {
  index: number;
  text: string;
}

/** UTF-16 units handled at once where a text is too much for the regular expression engine, and how far from a slice's end a match is not yet certain. */
const slicing = { length: 512 * 1024, margin: 256 };

/**
 * All matches of a pattern (flags g and u), empty ones left out. JavaScript's engine gives up on runs of some million characters without a border (a file that is
 * one line of letters); such a text is matched in slices, which gives the same matches but for runs longer than a slice, which are cut.
 */
export function findMatches(text: string, pattern: RegExp): PatternMatch[] {
  try {
    return matchesOf(text, pattern);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  const found: PatternMatch[] = [];
  for (let start = 0; start < text.length; ) {
    const end = Math.min(start + slicing.length, text.length);
    // Not between the halves of a surrogate pair.
    const slice = text.slice(start, end < text.length && isHighSurrogate(text, end - 1) ? end - 1 : end);
    const matches = matchesOf(slice, pattern);
    const isLast = start + slice.length === text.length;
    const certainEnd = isLast ? slice.length : slice.length - slicing.margin;
    const certain = matches.filter((match) => match.index + match.text.length <= certainEnd);
    const kept = certain.length > 0 ? certain : matches.slice(0, 1);
    for (const match of kept) found.push({ index: start + match.index, text: match.text });
    const last = kept.at(-1);
    start += isLast ? slice.length : last === undefined ? certainEnd : last.index + last.text.length;
  }
  return found;
}

function matchesOf(text: string, pattern: RegExp): PatternMatch[] {
  const matches: PatternMatch[] = [];
  for (const match of text.matchAll(pattern))
    if (match[0] !== '') matches.push({ index: match.index, text: match[0] });
  return matches;
}

function isHighSurrogate(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800;
}
