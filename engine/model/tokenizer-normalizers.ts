import { DBellError } from '../contract/errors.ts';
import type { Component } from './tokenizer-definition.ts';
import { tokenizerLimits } from './tokenizer-limits.ts';
import { compilePattern, whiteSpace } from './tokenizer-patterns.ts';

export type Normalizer = (text: string) => string;

const leadingSpace = new RegExp(`^${whiteSpace}+`, 'u');
const trailingSpace = new RegExp(`(?<!${whiteSpace})${whiteSpace}+$`, 'u');

/** Builds `normalizer` of tokenizer.json; null leaves text unchanged. Throws `unsupported-model` naming an unknown type. */
export function createNormalizer(component: Component | null, depth = 0): Normalizer {
  if (component === null) return (text) => text;
  switch (component.type) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = component.type;
      return (text) => text.normalize(form);
    }
    case 'Lowercase':
      // One character at a time: JavaScript's own rule for a final sigma looks at the neighbours, the reference does not.
      return (text) => Array.from(text, (character) => character.toLowerCase()).join('');
    case 'Prepend': {
      const prefix = stringField(component, 'prepend');
      return (text) => (text === '' ? text : prefix + text);
    }
    case 'Replace': {
      const pattern = compilePattern(component.pattern, 'normalizer');
      const content = stringField(component, 'content');
      return (text) => text.replace(pattern, () => content);
    }
    case 'Strip': {
      const left = component.strip_left !== false;
      const right = component.strip_right !== false;
      return (text) => {
        const stripped = left ? text.replace(leadingSpace, '') : text;
        return right ? stripped.replace(trailingSpace, '') : stripped;
      };
    }
    case 'Sequence': {
      const parts = componentList(component, 'normalizers', depth).map((part) =>
        createNormalizer(part, depth + 1),
      );
      return (text) => parts.reduce((current, part) => part(current), text);
    }
    default:
      throw new DBellError(
        'unsupported-model',
        `tokenizer.json: normalizer ${component.type} is not supported; supported: NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence`,
      );
  }
}

/** A component's string field. Throws `invalid-model` where it is missing. */
export function stringField(component: Component, field: string): string {
  const value = component[field];
  if (typeof value !== 'string')
    throw new DBellError(
      'invalid-model',
      `tokenizer.json: ${component.type}.${field} is ${JSON.stringify(value)}; expected a string`,
    );
  return value;
}

/** The parts of a Sequence, bounded in depth. */
export function componentList(component: Component, field: string, depth: number): Component[] {
  const value = component[field];
  if (depth >= tokenizerLimits.maxNesting)
    throw new DBellError(
      'invalid-model',
      `tokenizer.json: Sequence is nested deeper than ${tokenizerLimits.maxNesting} levels`,
    );
  if (!Array.isArray(value))
    throw new DBellError('invalid-model', `tokenizer.json: Sequence.${field} is not a list`);
  return value.map((part: unknown) => {
    if (typeof part === 'object' && part !== null && 'type' in part && typeof part.type === 'string')
      return part as Component;
    throw new DBellError('invalid-model', `tokenizer.json: Sequence.${field} has a part without type`);
  });
}
