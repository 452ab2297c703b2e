import { DBellError } from '../contract/errors.ts';
import { chooseChatTemplate } from './chat-template.ts';
import { tokenizerFromVocabularyAndMerges } from './gpt2-tokenizer.ts';
import { isRecord } from './json.ts';
import { MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES } from './limits.ts';
import type { ModelFolder } from './model-folder.ts';
import { count, type ProblemList } from './problems.ts';
import type { TokenizerDefinition } from './source.ts';
import { roleTokens } from './tokenizer-definition.ts';

/** What a tokenizer and its chat template may lie in; a package copies it unchanged. */
export const tokenizerFileNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'vocab.json',
  'merges.txt',
];

export interface TokenizerParts {
  tokenizer: TokenizerDefinition;
  tokenizerFiles: Map<string, Uint8Array>;
  chatTemplate: string | null;
  license: string | null;
  /** Id of the end-of-text token that the tokenizer names. */
  endOfTextId: number | null;
}

/** Reads the tokenizer's files and what else a package carries over; null, with problems, where there is no usable tokenizer. */
export function readTokenizerFiles(
  folder: ModelFolder,
  vocabularySize: number | null,
  problems: ProblemList,
): TokenizerParts | null {
  const errorsBefore = problems.errorCount;
  const config = folder.readJson('tokenizer_config.json', MAX_CONFIG_BYTES) ?? {};
  const made = folder.exists('tokenizer.json') ? null : madeTokenizer(folder, config, problems);
  const tokenizer = made ?? folder.readJson('tokenizer.json', MAX_TOKENIZER_BYTES);
  if (tokenizer === null) {
    if (!folder.exists('tokenizer.json') && problems.errorCount === errorsBefore)
      problems.error(
        folder.exists('tokenizer.model') ? 'unsupported-tokenizer' : 'not-found',
        folder.exists('tokenizer.model')
          ? 'the tokenizer is there as tokenizer.model only; save it as tokenizer.json (the "fast" format) first'
          : 'tokenizer.json is missing',
      );
    return null;
  }
  if (vocabularySize !== null) checkIds(tokenizer, vocabularySize, problems);
  const tokenizerFiles = new Map<string, Uint8Array>();
  for (const name of tokenizerFileNames) {
    const bytes = folder.exists(name) ? folder.read(name, MAX_TOKENIZER_BYTES) : null;
    if (bytes !== null) tokenizerFiles.set(name, bytes);
  }
  if (made !== null) tokenizerFiles.set('tokenizer.json', Buffer.from(`${JSON.stringify(made)}\n`, 'utf8'));
  if (problems.errorCount > errorsBefore) return null;
  const templateFile = tokenizerFiles.get('chat_template.jinja');
  const chat = chooseChatTemplate(
    templateFile === undefined ? null : Buffer.from(templateFile).toString('utf8'),
    config,
  );
  if (chat.warning !== null) problems.warning('chat-template', chat.warning);
  return {
    tokenizer: { tokenizer, config },
    tokenizerFiles,
    chatTemplate: chat.template,
    endOfTextId: endOfTextId(tokenizer, config),
    license: readLicense(folder),
  };
}

/** The tokenizer of a folder without tokenizer.json, made from vocab.json and merges.txt; null where these are missing or bad. */
function madeTokenizer(
  folder: ModelFolder,
  config: Record<string, unknown>,
  problems: ProblemList,
): Record<string, unknown> | null {
  if (!folder.exists('vocab.json') || !folder.exists('merges.txt')) return null;
  const vocabulary = folder.readJson('vocab.json', MAX_TOKENIZER_BYTES);
  const merges = folder.read('merges.txt', MAX_TOKENIZER_BYTES);
  if (vocabulary === null || merges === null) return null;
  const specialTokensMap = folder.exists('special_tokens_map.json')
    ? folder.readJson('special_tokens_map.json', MAX_CONFIG_BYTES)
    : null;
  try {
    return tokenizerFromVocabularyAndMerges(
      vocabulary,
      Buffer.from(merges).toString('utf8'),
      config,
      specialTokensMap ?? {},
    );
  } catch (error) {
    if (!(error instanceof DBellError)) throw error;
    problems.error(
      error.code === 'unsupported-model' ? 'unsupported-tokenizer' : 'tokenizer-damaged',
      error.message,
    );
    return null;
  }
}

/** Every id must have a row in the embedding. */
function checkIds(tokenizer: Record<string, unknown>, vocabularySize: number, problems: ProblemList): void {
  const model = isRecord(tokenizer.model) ? tokenizer.model : {};
  let largest = -1;
  const see = (id: unknown) => {
    if (typeof id === 'number' && id > largest) largest = id;
  };
  if (isRecord(model.vocab)) for (const id of Object.values(model.vocab)) see(id);
  else if (Array.isArray(model.vocab)) see(model.vocab.length - 1);
  if (Array.isArray(tokenizer.added_tokens))
    for (const token of tokenizer.added_tokens) if (isRecord(token)) see(token.id);
  if (largest >= vocabularySize)
    problems.error(
      'tokenizer-mismatch',
      `tokenizer.json has token id ${count(largest)} but config.json says vocab_size ${count(vocabularySize)}; the tokenizer belongs to another model`,
    );
}

/** Id of the tokenizer's own end-of-text token, or null where it names none that exists. */
function endOfTextId(tokenizer: Record<string, unknown>, config: Record<string, unknown>): number | null {
  const { endOfText } = roleTokens(config);
  if (endOfText === null) return null;
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : [];
  const token: unknown = added.find((entry) => isRecord(entry) && entry.content === endOfText);
  if (isRecord(token) && Number.isSafeInteger(token.id)) return token.id as number;
  const vocabulary = isRecord(tokenizer.model) ? tokenizer.model.vocab : null;
  const id = isRecord(vocabulary) && Object.hasOwn(vocabulary, endOfText) ? vocabulary[endOfText] : null;
  return Number.isSafeInteger(id) ? (id as number) : null;
}

/** The licence that the model card names in its front matter. */
function readLicense(folder: ModelFolder): string | null {
  if (!folder.exists('README.md')) return null;
  const bytes = folder.read('README.md', MAX_CONFIG_BYTES);
  if (bytes === null) return null;
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(Buffer.from(bytes).toString('utf8'))?.[1];
  const license =
    front === undefined ? undefined : /^license:\s*["']?([^"'\r\n]+)["']?\s*$/m.exec(front)?.[1];
  return license?.trim() ?? null;
}
