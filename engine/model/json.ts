import { MAX_JSON_DEPTH, MAX_JSON_VALUES } from './limits.ts';
import { count, quote } from './problems.ts';

/** Why a text is no acceptable JSON object; the message completes "<file> …". */
export class JsonError extends Error {}

/** True for what a JSON object becomes; arrays and null are not. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Parses bytes that must hold one JSON object in UTF-8. Refuses nesting deeper than MAX_JSON_DEPTH and more than MAX_JSON_VALUES values before parsing, and a name that stands twice
 * in one object of the outer `uniqueDepth` levels (JSON.parse would silently keep the last). Throws JsonError.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  options?: { uniqueDepth?: number },
): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new JsonError('is not valid UTF-8');
  }
  const duplicate = scan(text, options?.uniqueDepth ?? 0);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonError('is not valid JSON');
  }
  if (!isRecord(value)) throw new JsonError('is not a JSON object');
  if (duplicate !== null) throw new JsonError(`names ${quote(duplicate)} twice`);
  return value;
}

/** Walks the text once: throws on too deep nesting and too many values, returns the first name that occurs twice in an object at depth ≤ uniqueDepth. */
function scan(text: string, uniqueDepth: number): string | null {
  const names: (Set<string> | null)[] = [];
  let depth = 0;
  let values = 1;
  let duplicate: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') {
      const end = endOfString(text, i);
      const set = names[depth];
      if (set && duplicate === null && isFollowedByColon(text, end + 1)) {
        const name = unescaped(text.slice(i, end + 1));
        if (set.has(name)) duplicate = name;
        set.add(name);
      }
      i = end;
    } else if (character === '{' || character === '[') {
      depth++;
      values++;
      if (depth > MAX_JSON_DEPTH) throw new JsonError(`is nested deeper than ${MAX_JSON_DEPTH} levels`);
      names[depth] = character === '{' && depth <= uniqueDepth ? new Set() : null;
    } else if (character === '}' || character === ']') {
      if (depth > 0) depth--;
    } else if (character === ',') values++;
    if (values > MAX_JSON_VALUES) throw new JsonError(`holds more than ${count(MAX_JSON_VALUES)} values`);
  }
  return duplicate;
}

/** Index of the closing quote, or of the last character where there is none (JSON.parse then refuses the text). */
function endOfString(text: string, begin: number): number {
  let end = text.indexOf('"', begin + 1);
  while (end !== -1) {
    let slashes = 0;
    while (text[end - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length - 1;
}

function isFollowedByColon(text: string, from: number): boolean {
  let i = from;
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i++;
  return text[i] === ':';
}

function unescaped(literal: string): string {
  if (!literal.includes('\\')) return literal.slice(1, -1);
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal.slice(1, -1);
  }
}
