import { isRecord } from './json.ts';
import { MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES } from './limits.ts';
import type { ModelFolder } from './model-folder.ts';
import { count, type ProblemList } from './problems.ts';
import type { TokenizerDefinition } from './source.ts';

/** What a package copies unchanged. */
const copiedNames = [
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
}

/** Reads the tokenizer's files and what else a package carries over; null, with problems, where there is no usable tokenizer. */
export function readTokenizerFiles(
  folder: ModelFolder,
  vocabularySize: number | null,
  problems: ProblemList,
): TokenizerParts | null {
  const errorsBefore = problems.errorCount;
  const tokenizer = folder.readJson('tokenizer.json', MAX_TOKENIZER_BYTES);
  const config = folder.readJson('tokenizer_config.json', MAX_CONFIG_BYTES) ?? {};
  if (tokenizer === null) {
    if (!folder.exists('tokenizer.json'))
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
  for (const name of copiedNames) {
    const bytes = folder.exists(name) ? folder.read(name, MAX_TOKENIZER_BYTES) : null;
    if (bytes !== null) tokenizerFiles.set(name, bytes);
  }
  if (problems.errorCount > errorsBefore) return null;
  return {
    tokenizer: { tokenizer, config },
    tokenizerFiles,
    chatTemplate: chooseChatTemplate(tokenizerFiles.get('chat_template.jinja'), config.chat_template),
    license: readLicense(folder),
  };
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

/** chat_template.jinja outranks tokenizer_config.json, whose template may be a list of named ones. */
function chooseChatTemplate(file: Uint8Array | undefined, inline: unknown): string | null {
  if (file !== undefined) return Buffer.from(file).toString('utf8');
  if (typeof inline === 'string') return inline;
  if (!Array.isArray(inline)) return null;
  const named = inline.find((item) => isRecord(item) && item.name === 'default');
  return isRecord(named) && typeof named.template === 'string' ? named.template : null;
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
