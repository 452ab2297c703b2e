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
