import { DBellError } from '../contract/errors.ts';
import type { TextSegment } from './tokenizer.ts';

/** Private-use characters of the first plane: no normalizer changes them, no template looks for them, each is one UTF-16 unit. */
const privateUse = { first: 0xe000, last: 0xf8ff };

/**
 * Keeps what a person typed from becoming control tokens. One character of everything in a message that reads as a control token is replaced by a mark before the template
 * runs, and put back, as plain text, in what it rendered. All else of a message stays as it is, so that a template can trim it or look inside.
 */
export class ControlTokenMarks {
  readonly #controlTexts: readonly string[];
  readonly #pattern: RegExp | null;
  readonly #taken: Set<string>;
  readonly #markOf = new Map<string, string>();
  readonly #originalOf = new Map<string, string>();
  #next = privateUse.first;

  /** `surroundings`: all texts that take part; their own private-use characters are not used as marks. */
  constructor(controlTexts: readonly string[], surroundings: readonly string[]) {
    this.#controlTexts = controlTexts.filter((text) => text !== '');
    // Case is ignored, as a template may change it.
    this.#pattern =
      this.#controlTexts.length === 0
        ? null
        : new RegExp(
            [...this.#controlTexts]
              .sort((a, b) => b.length - a.length)
              .map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
              .join('|'),
            'giu',
          );
    this.#taken = new Set(surroundings.flatMap((text) => text.match(/[\uE000-\uF8FF]/g) ?? []));
  }

  /** A message's text with marks. */
  mark(content: string): string {
    if (this.#pattern === null || content === '') return content;
    const positions = new Set<number>();
    // Overlapping occurrences too: the search goes on one character after each beginning.
    this.#pattern.lastIndex = 0;
    for (let match = this.#pattern.exec(content); match !== null; match = this.#pattern.exec(content)) {
      positions.add(match.index);
      this.#pattern.lastIndex = match.index + 1;
    }
    // A control token could be completed by the template's text around the message, before or after it is trimmed.
    const start = content.length - content.trimStart().length;
    const end = content.trimEnd().length;
    for (const [from, to] of [
      [0, content.length],
      [start, end],
    ] as const) {
      if (from < to) for (const position of this.#borderPositions(content, from, to)) positions.add(position);
    }
    if (positions.size === 0) return content;
    let marked = '';
    let done = 0;
    for (const position of [...positions].sort((a, b) => a - b)) {
      const character = String.fromCodePoint(content.codePointAt(position) as number);
      marked += content.slice(done, position) + this.#markFor(character);
      done = position + character.length;
    }
    return marked + content.slice(done);
  }

  /** Rendered text as segments: marks become what they stand for, as plain text; all between them may hold control tokens. */
  segments(rendered: string): TextSegment[] {
    const segments: TextSegment[] = [];
    let start = 0;
    for (let index = 0; index < rendered.length; index++) {
      const original = this.#originalOf.get(rendered.charAt(index));
      if (original === undefined) continue;
      if (index > start) segments.push({ text: rendered.slice(start, index), parseSpecial: true });
      segments.push({ text: original, parseSpecial: false });
      start = index + 1;
    }
    if (start < rendered.length) segments.push({ text: rendered.slice(start), parseSpecial: true });
    return segments;
  }

  /** A character of each part of a control token that the text's borders hold: its end begins one, its beginning ends one, or it is the inside of one. */
  *#borderPositions(content: string, from: number, to: number): Generator<number> {
    for (const control of this.#controlTexts) {
      const longest = Math.min(control.length - 1, to - from);
      for (let length = longest; length > 0; length--) {
        if (content.startsWith(control.slice(0, length), to - length)) {
          yield to - length;
          break;
        }
      }
      for (let length = longest; length > 0; length--) {
        if (content.startsWith(control.slice(-length), from)) {
          yield from + length - 1;
          break;
        }
      }
      if (to - from < control.length && control.includes(content.slice(from, to))) yield from;
    }
  }

  #markFor(character: string): string {
    const known = this.#markOf.get(character);
    if (known !== undefined) return known;
    while (this.#next <= privateUse.last && this.#taken.has(String.fromCharCode(this.#next))) this.#next++;
    if (this.#next > privateUse.last)
      throw new DBellError(
        'invalid-input',
        'the messages use up all private-use characters (U+E000 to U+F8FF), so that control tokens in them cannot be told apart; remove some of these',
      );
    const mark = String.fromCharCode(this.#next++);
    this.#markOf.set(character, mark);
    this.#originalOf.set(mark, character);
    return mark;
  }
}
