import { DBellError } from '../contract/errors.ts';
import { toByteCharacters } from './tokenizer-bytes.ts';
import type { Component } from './tokenizer-definition.ts';
import { componentList, stringField } from './tokenizer-normalizers.ts';
import { compilePattern, findMatches, whiteSpace } from './tokenizer-patterns.ts';

/** Splits a section of normalized text into pre-tokens. `isFirst`: the section begins where the whole text begins. */
export type PreTokenizer = (section: string, isFirst: boolean) => string[];

/** What becomes of the matches of a splitting pattern. */
type Behavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';
const behaviors: readonly string[] = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
];

interface Piece {
  text: string;
  isMatch: boolean;
}

/** GPT-2's pattern; every `ByteLevel` pre-tokenizer with `use_regex` splits by it. */
const byteLevelPattern = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${whiteSpace}\\p{L}\\p{N}]+|${whiteSpace}+(?!\\P{White_Space})|${whiteSpace}+`,
  'gu',
);
const wordPattern = new RegExp(
  `[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}${whiteSpace}]+`,
  'gu',
);
const notWhiteSpacePattern = /\P{White_Space}+/gu;
const digitPattern = /\p{N}/gu;
const punctuationPattern = /[\p{P}!-/:-@[-`{-~]/gu;

/** Builds `pre_tokenizer` of tokenizer.json; null keeps a section whole. Throws `unsupported-model` naming an unknown type. */
export function createPreTokenizer(component: Component | null, depth = 0): PreTokenizer {
  if (component === null) return (section) => [section];
  switch (component.type) {
    case 'Sequence': {
      const parts = componentList(component, 'pretokenizers', depth).map((part) =>
        createPreTokenizer(part, depth + 1),
      );
      return (section, isFirst) =>
        parts.reduce(
          (pieces, part) => pieces.flatMap((piece, index) => part(piece, isFirst && index === 0)),
          [section],
        );
    }
    case 'ByteLevel':
      return byteLevel(component.add_prefix_space !== false, component.use_regex !== false);
    case 'Split': {
      const pattern = compilePattern(component.pattern, 'pre_tokenizer.Split');
      const behavior = behaviorOf(component, 'Isolated');
      const invert = component.invert === true;
      return (section) => split(section, pattern, behavior, invert);
    }
    case 'Digits': {
      const behavior = component.individual_digits === true ? 'Isolated' : 'Contiguous';
      return (section) => split(section, digitPattern, behavior, false);
    }
    case 'Punctuation': {
      const behavior = behaviorOf(component, 'Isolated');
      return (section) => split(section, punctuationPattern, behavior, false);
    }
    case 'Whitespace':
      return (section) => piecesOf(section, wordPattern);
    case 'WhitespaceSplit':
      return (section) => piecesOf(section, notWhiteSpacePattern);
    case 'Metaspace':
      return metaspace(component);
    default:
      throw new DBellError(
        'unsupported-model',
        `tokenizer.json: pre-tokenizer ${component.type} is not supported; supported: Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace`,
      );
  }
}

function byteLevel(addPrefixSpace: boolean, useRegex: boolean): PreTokenizer {
  return (section) => {
    const text = addPrefixSpace && !section.startsWith(' ') ? ` ${section}` : section;
    const pieces = useRegex ? piecesOf(text, byteLevelPattern) : [text];
    return pieces.map(toByteCharacters);
  };
}

function piecesOf(text: string, pattern: RegExp): string[] {
  return findMatches(text, pattern).map((match) => match.text);
}

/** SentencePiece's blanks: each space becomes ▁, one is put in front, and (by default) text is split before each. */
function metaspace(component: Component): PreTokenizer {
  const replacement = component.replacement === undefined ? '▁' : stringField(component, 'replacement');
  // Files of before tokenizers 0.15 say add_prefix_space instead of prepend_scheme.
  const scheme = component.prepend_scheme ?? (component.add_prefix_space === false ? 'never' : 'always');
  if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never')
    throw new DBellError(
      'unsupported-model',
      `tokenizer.json: Metaspace.prepend_scheme ${JSON.stringify(scheme)} is not supported; supported: always, first, never`,
    );
  const splits = component.split !== false;
  return (section, isFirst) => {
    let text = section.replaceAll(' ', replacement);
    if ((scheme === 'always' || (scheme === 'first' && isFirst)) && !text.startsWith(replacement))
      text = replacement + text;
    if (!splits) return [text];
    return text.split(replacement).flatMap((part, index) => {
      if (index > 0) return [replacement + part];
      return part === '' ? [] : [part];
    });
  };
}

function behaviorOf(component: Component, fallback: Behavior): Behavior {
  const behavior = component.behavior ?? fallback;
  if (typeof behavior === 'string' && behaviors.includes(behavior)) return behavior as Behavior;
  throw new DBellError(
    'unsupported-model',
    `tokenizer.json: ${component.type}.behavior ${JSON.stringify(behavior)} is not supported; supported: ${behaviors.join(', ')}`,
  );
}

/** Splits by a pattern; with `invert` what lies between the matches counts as match. Empty pieces are dropped. */
export function split(text: string, pattern: RegExp, behavior: Behavior, invert: boolean): string[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of findMatches(text, pattern)) {
    if (match.index > end) pieces.push({ text: text.slice(end, match.index), isMatch: invert });
    pieces.push({ text: match.text, isMatch: !invert });
    end = match.index + match.text.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end), isMatch: invert });
  switch (behavior) {
    case 'Isolated':
      return pieces.map((piece) => piece.text);
    case 'Removed':
      return pieces.filter((piece) => !piece.isMatch).map((piece) => piece.text);
    case 'Contiguous':
      return join(pieces, (previous, piece) => previous.isMatch === piece.isMatch);
    case 'MergedWithPrevious':
      return join(pieces, (previous, piece) => piece.isMatch && !previous.isMatch);
    case 'MergedWithNext':
      return join(pieces, (previous, piece) => previous.isMatch && !piece.isMatch);
  }
}

/** Joins each piece to the one before it where `belongs` says so. */
function join(pieces: Piece[], belongs: (previous: Piece, piece: Piece) => boolean): string[] {
  const result: string[] = [];
  pieces.forEach((piece, index) => {
    const previous = pieces[index - 1];
    if (previous !== undefined && belongs(previous, piece)) result[result.length - 1] += piece.text;
    else result.push(piece.text);
  });
  return result;
}
