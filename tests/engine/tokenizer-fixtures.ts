import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', 'fixtures', 'tokenizer');

function read<T>(name: string): T {
  return JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as T;
}

export type ExpectedIds = number[] | { count: number; sha256: string };

export interface ExpectedText {
  /** Control tokens parsed. */
  ids: ExpectedIds;
  /** As plain text; the same where absent. */
  plain?: ExpectedIds;
  /** Text of the plain ids; the text itself where absent. */
  decoded?: string;
}

type TokenizerJson = Record<string, unknown> & { model: Record<string, unknown> };

interface Variant {
  base: string;
  top: Record<string, unknown>;
  model: Record<string, unknown>;
  expected: Record<string, ExpectedText>;
}

const stored = read<{ texts: Record<string, string>; huge: Record<string, [string, number]> }>('texts.json');
const bases = read<Record<string, TokenizerJson>>('bases.json');

export const variants = read<Record<string, Variant>>('variants.json');
export const realModels =
  read<Record<string, { sha256: string; expected: Record<string, ExpectedText> }>>('models.json');
export const hugeTextNames = Object.keys(stored.huge);

export function textOf(name: string): string {
  const huge = stored.huge[name];
  return huge === undefined ? (stored.texts[name] as string) : huge[0].repeat(huge[1]);
}

export function definitionOf(name: string): { tokenizer: TokenizerJson; config: Record<string, unknown> } {
  const { base, top, model } = variants[name] as Variant;
  const found = structuredClone(bases[base] as TokenizerJson);
  return { tokenizer: { ...found, ...top, model: { ...found.model, ...model } }, config: {} };
}

/** The form in which expected ids are stored, so that both compare with toEqual. */
export function comparable(ids: number[], expected: ExpectedIds): ExpectedIds {
  if (Array.isArray(expected)) return ids;
  const bytes = Buffer.from(Int32Array.from(ids).buffer);
  return { count: ids.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
