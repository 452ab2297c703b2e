import { DBellError } from '../contract/errors.ts';
import { characterToByte } from './tokenizer-bytes.ts';
import type { Component } from './tokenizer-definition.ts';
import { componentList, stringField } from './tokenizer-normalizers.ts';
import { compilePattern } from './tokenizer-patterns.ts';

/** Turns token texts into text one at a time; `push` gives what became certain, `flush` what was held back. */
export interface TokenDecoder {
  push(token: string): string;
  flush(): string;
}

/**
 * Makes decoders of a tokenizer. `continuation`: the text goes on from earlier text, so that a first blank that the tokenizer
 * puts in front of every text is a real one and stays.
 */
export type DecoderFactory = (options: { continuation: boolean }) => TokenDecoder;

/** One token's text → text, knowing whether it is the first token. */
type TokenStage = (token: string, isFirst: boolean, continuation: boolean) => string;

interface DecoderPlan {
  tokenStages: TokenStage[];
  /** How token texts become bytes: GPT-2's table, `<0x..>` tokens, or not at all. */
  bytes: 'byte-level' | 'byte-fallback' | 'none';
  /** A leading character that is cut off the whole text, at most `stripCount` times. */
  strip: { content: string; count: number } | null;
  /** Put between tokens. */
  separator: string;
}

/**
 * Builds `decoder` of tokenizer.json. Decoding is defined as the stream's concatenation, so both always agree; bytes that are
 * no UTF-8 become one U+FFFD for each maximal invalid part, as in the WHATWG decoder. Throws `unsupported-model` naming a decoder, or an order of
 * decoders, that cannot be streamed.
 */
export function createDecoderFactory(component: Component | null): DecoderFactory {
  const plan: DecoderPlan = { tokenStages: [], bytes: 'none', strip: null, separator: '' };
  // Without a decoder the reference joins tokens with blanks.
  if (component === null) plan.separator = ' ';
  else addComponent(plan, component, { fused: false }, 0);
  return ({ continuation }) => new PlannedDecoder(plan, continuation);
}

function addComponent(
  plan: DecoderPlan,
  component: Component,
  state: { fused: boolean },
  depth: number,
): void {
  const needsTokens = () => {
    if (state.fused || plan.bytes !== 'none')
      throw new DBellError(
        'unsupported-model',
        `tokenizer.json: decoder ${component.type} after Fuse, ByteLevel or ByteFallback is not supported`,
      );
  };
  switch (component.type) {
    case 'Sequence':
      for (const part of componentList(component, 'decoders', depth))
        addComponent(plan, part, state, depth + 1);
      return;
    case 'ByteLevel':
      needsTokens();
      plan.bytes = 'byte-level';
      return;
    case 'ByteFallback':
      needsTokens();
      plan.bytes = 'byte-fallback';
      return;
    case 'Fuse':
      state.fused = true;
      return;
    case 'Replace': {
      needsTokens();
      const pattern = compilePattern(component.pattern, 'decoder.Replace');
      const content = stringField(component, 'content');
      plan.tokenStages.push((token) => token.replace(pattern, () => content));
      return;
    }
    case 'Metaspace':
      // Comes after ByteFallback in some files; the two touch different tokens, so the order does not matter.
      plan.tokenStages.push(metaspaceStage(component));
      return;
    case 'Strip':
      addStrip(plan, component, state.fused);
      return;
    default:
      throw new DBellError(
        'unsupported-model',
        `tokenizer.json: decoder ${component.type} is not supported; supported: Sequence, ByteLevel, ByteFallback, Fuse, Replace, Metaspace, Strip`,
      );
  }
}

function metaspaceStage(component: Component): TokenStage {
  const replacement = component.replacement === undefined ? '▁' : stringField(component, 'replacement');
  const scheme = component.prepend_scheme ?? (component.add_prefix_space === false ? 'never' : 'always');
  return (token, isFirst, continuation) =>
    token.replaceAll(replacement, isFirst && scheme !== 'never' && !continuation ? '' : ' ');
}

function addStrip(plan: DecoderPlan, component: Component, fused: boolean): void {
  const content = stringField(component, 'content');
  const { start, stop } = component;
  if (typeof start !== 'number' || typeof stop !== 'number' || [...content].length !== 1)
    throw new DBellError(
      'invalid-model',
      'tokenizer.json: decoder Strip needs one character and the numbers start, stop',
    );
  if (fused) {
    if (stop !== 0)
      throw new DBellError(
        'unsupported-model',
        `tokenizer.json: decoder Strip with stop ${stop} after Fuse is not supported`,
      );
    plan.strip = { content, count: start };
    return;
  }
  plan.tokenStages.push((token) => {
    let text = token;
    for (let cut = 0; cut < start && text.startsWith(content); cut++) text = text.slice(content.length);
    for (let cut = 0; cut < stop && text.endsWith(content); cut++) text = text.slice(0, -content.length);
    return text;
  });
}

class PlannedDecoder implements TokenDecoder {
  readonly #plan: DecoderPlan;
  readonly #continuation: boolean;
  // Its `stream` option holds an incomplete character back.
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  #isFirst = true;
  #stripLeft: number;

  constructor(plan: DecoderPlan, continuation: boolean) {
    this.#plan = plan;
    this.#continuation = continuation;
    this.#stripLeft = plan.strip === null || continuation ? 0 : plan.strip.count;
  }

  push(token: string): string {
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    let text = token;
    for (const stage of this.#plan.tokenStages) text = stage(text, isFirst, this.#continuation);
    if (!isFirst || this.#continuation) text = this.#plan.separator + text;
    return this.#stripped(this.#decoded(text));
  }

  flush(): string {
    return this.#stripped(this.#utf8.decode());
  }

  #decoded(text: string): string {
    switch (this.#plan.bytes) {
      case 'none':
        return text;
      case 'byte-level':
        return this.#utf8.decode(byteLevelBytes(text), { stream: true });
      case 'byte-fallback': {
        const byte = byteOfToken(text);
        if (byte !== null) return this.#utf8.decode(Uint8Array.of(byte), { stream: true });
        // Any other token ends a run of bytes; a character cut off there is invalid.
        return this.#utf8.decode() + text;
      }
    }
  }

  #stripped(text: string): string {
    const { strip } = this.#plan;
    if (strip === null || text === '') return text;
    let rest = text;
    while (this.#stripLeft > 0 && rest !== '') {
      if (!rest.startsWith(strip.content)) {
        this.#stripLeft = 0;
        break;
      }
      rest = rest.slice(strip.content.length);
      this.#stripLeft--;
    }
    return rest;
  }
}

/** Bytes of a byte-level token; one that has other characters (an added token) stands for its own text. */
function byteLevelBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  let count = 0;
  for (const character of token) {
    const byte = characterToByte.get(character);
    if (byte === undefined) return Buffer.from(token, 'utf8');
    bytes[count++] = byte;
  }
  return bytes.subarray(0, count);
}

/** Value of `<0x0A>`; null for any other text. */
function byteOfToken(token: string): number | null {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match === null ? null : Number.parseInt(match[1] as string, 16);
}
