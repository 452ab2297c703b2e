import { byteLevelStep } from './byte-pair-model.ts';

/** How a byte-level GGUF splits text before merging: what each value of `tokenizer.ggml.pre` means. */
export interface GgufPreTokenizer {
  normalizer: Record<string, unknown> | null;
  preTokenizer: Record<string, unknown>;
  ignoreMerges: boolean;
  /** Whether a begin-of-text token is put in front where the file does not say. */
  addBeginOfText: boolean;
}

const byteLevel = (useRegex: boolean) => byteLevelStep(false, useRegex);
const isolated = (regex: string) => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Isolated',
  invert: false,
});
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const gpt2Regex = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** The pattern that cl100k introduced; families differ in how many digits stay together. */
const wordsAndDigits = (digits: string) =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const tekkenRegex = `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const gpt2: GgufPreTokenizer = {
  normalizer: null,
  preTokenizer: byteLevel(true),
  ignoreMerges: false,
  addBeginOfText: false,
};
const singleDigits: GgufPreTokenizer = {
  ...gpt2,
  preTokenizer: sequence({ type: 'Digits', individual_digits: true }, byteLevel(true)),
};
const llama3: GgufPreTokenizer = {
  normalizer: null,
  preTokenizer: sequence(isolated(wordsAndDigits('\\p{N}{1,3}')), byteLevel(false)),
  ignoreMerges: true,
  addBeginOfText: true,
};
const qwen2: GgufPreTokenizer = {
  // The family's own tokenizer composes characters first.
  normalizer: { type: 'NFC' },
  preTokenizer: sequence(isolated(wordsAndDigits('\\p{N}')), byteLevel(false)),
  ignoreMerges: false,
  addBeginOfText: false,
};
const tekken: GgufPreTokenizer = {
  normalizer: null,
  preTokenizer: sequence(isolated(tekkenRegex), byteLevel(false)),
  ignoreMerges: true,
  addBeginOfText: true,
};
/** What files of before the field existed were run with. */
const unnamed: GgufPreTokenizer = {
  ...gpt2,
  preTokenizer: sequence(
    isolated('[\\p{P}\\$\\+<=>\\^~\\|]+'),
    isolated(gpt2Regex),
    isolated('\\p{N}+'),
    isolated('[0-9][0-9][0-9]'),
    byteLevel(false),
  ),
};

/** `tokenizer.ggml.pre` → meaning. A value that is not here is refused by name: a wrong split gives wrong ids silently. */
export const ggufPreTokenizers: Readonly<Record<string, GgufPreTokenizer>> = {
  default: unnamed,
  'gpt-2': gpt2,
  olmo: gpt2,
  mpt: gpt2,
  smollm: singleDigits,
  starcoder: singleDigits,
  refact: singleDigits,
  'command-r': singleDigits,
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  falcon3: llama3,
  qwen2,
  'deepseek-r1-qwen': qwen2,
  tekken,
};
