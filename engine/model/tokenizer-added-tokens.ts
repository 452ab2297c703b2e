import type { AddedTokenDefinition } from './tokenizer-definition.ts';

/** Part of a text: an added token, or ordinary text between two. Positions are UTF-16 units of the searched text. */
export type Section = { kind: 'token'; id: number } | { kind: 'text'; start: number; end: number };

const wordCharacter = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const whiteSpaceCharacter = /\p{White_Space}/u;

interface Candidate {
  text: string;
  token: AddedTokenDefinition;
}

/**
 * Finds added tokens in text: leftmost, and of those that begin at the same place the longest, as the reference's
 * Aho-Corasick automaton does.
 */
export class AddedTokenMatcher {
  /** First UTF-16 unit → candidates, longest first. */
  readonly #candidates = new Map<number, Candidate[]>();

  /** `textOf` gives the text that stands for a token: itself, or its normalized form. */
  constructor(tokens: readonly AddedTokenDefinition[], textOf: (token: AddedTokenDefinition) => string) {
    for (const token of tokens) {
      const text = textOf(token);
      if (text === '') continue;
      const unit = text.charCodeAt(0);
      const list = this.#candidates.get(unit);
      if (list === undefined) this.#candidates.set(unit, [{ text, token }]);
      else list.push({ text, token });
    }
    for (const list of this.#candidates.values()) list.sort((a, b) => b.text.length - a.text.length);
  }

  get isEmpty(): boolean {
    return this.#candidates.size === 0;
  }

  /**
   * Splits `text`. A control token counts only where `allowsSpecial(start, end)` says so; elsewhere its text is ordinary text.
   */
  split(text: string, allowsSpecial: (start: number, end: number) => boolean): Section[] {
    const sections: Section[] = [];
    let textStart = 0;
    let position = 0;
    while (position < text.length) {
      const candidate = this.#at(text, position);
      if (candidate === null) {
        position++;
        continue;
      }
      let start = position;
      let end = position + candidate.text.length;
      const { token } = candidate;
      position = end;
      if (token.special && !allowsSpecial(start, end)) continue;
      if (token.singleWord && (isWord(text, start, -1) || isWord(text, end, 1))) continue;
      if (token.leftStrip) {
        while (start > textStart && whiteSpaceCharacter.test(text.charAt(start - 1))) start--;
      }
      if (token.rightStrip) {
        while (end < text.length && whiteSpaceCharacter.test(text.charAt(end))) end++;
      }
      if (start > textStart) sections.push({ kind: 'text', start: textStart, end: start });
      sections.push({ kind: 'token', id: token.id });
      textStart = end;
      position = end;
    }
    if (textStart < text.length) sections.push({ kind: 'text', start: textStart, end: text.length });
    return sections;
  }

  #at(text: string, position: number): Candidate | null {
    const list = this.#candidates.get(text.charCodeAt(position));
    if (list === undefined) return null;
    return list.find((candidate) => text.startsWith(candidate.text, position)) ?? null;
  }
}

/** Whether the character before (`direction` −1) or at (1) an index belongs to a word. */
function isWord(text: string, index: number, direction: 1 | -1): boolean {
  if (direction === 1)
    return index < text.length && wordCharacter.test(String.fromCodePoint(text.codePointAt(index) as number));
  if (index === 0) return false;
  const isPair = index > 1 && (text.charCodeAt(index - 1) & 0xfc00) === 0xdc00;
  return wordCharacter.test(text.slice(index - (isPair ? 2 : 1), index));
}
