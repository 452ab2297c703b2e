import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { DBellError } from '../contract/errors.ts';
import { formatBytes } from '../contract/number-format.ts';
import { checkContext } from '../model/context-length.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { documentParts, haveSeveralDocuments } from './documents.ts';
import { documentSeparatorText, textLimits } from './limits.ts';
import { checkTextFile } from './text-chunks.ts';
import { findTextFiles, type TextFiles } from './text-files.ts';
import { type WindowChoice, WindowSelector } from './window-selector.ts';
import { fingerprintOf, type TokenWindows } from './windows.ts';

export interface ReadWindowsOptions {
  /** Tokens of a window. */
  context: number;
  choice: WindowChoice;
  /** Context length of the model: an upper bound of `context`. */
  modelContextLength?: number;
  /** Id put before each of several documents; null for none; by default `defaultSeparatorId`. Ignored for a single document. */
  separatorId?: number | null;
  /** The model's begin-of-text id, for the default separator. */
  beginOfTextId?: number | null;
  signal?: AbortSignal;
  onProgress?: (progress: { bytesDone: number; bytesTotal: number; tokens: number }) => void;
}

/** Id of `<|endoftext|>` if the vocabulary has it, else the begin-of-text id, else null. */
export function defaultSeparatorId(tokenizer: Tokenizer, beginOfTextId: number | null): number | null {
  return tokenizer.tokenToId(documentSeparatorText) ?? beginOfTextId;
}

/**
 * Reads a text source (see `findTextFiles`) into token windows.
 *
 * Documents of a text file end with a line `<|endoftext|>`; a .jsonl file has one a line in field `text`. Where there are several, newlines
 * around each are stripped and each is preceded by the separator id. Documents are tokenized without special tokens, what looks like a control token as plain text. The ids are cut into windows
 * from the start; an incomplete last window is dropped. Memory holds the chosen windows and one document part.
 *
 * Throws DBellError `invalid-text` for a text that is empty, blank, binary, no UTF-8 or too short (saying how much is missing), `invalid-input` for a
 * bad option, `not-found`, `stopped`.
 */
export async function readTokenWindows(
  source: string,
  tokenizer: Tokenizer,
  options: ReadWindowsOptions,
): Promise<TokenWindows> {
  checkOptions(tokenizer, options);
  const { context, choice, signal } = options;
  const found = findTextFiles(source);
  const textSha256 = hashFiles(found);
  const several = haveSeveralDocuments(found.files);
  const separatorId = several
    ? options.separatorId === undefined
      ? defaultSeparatorId(tokenizer, options.beginOfTextId ?? null)
      : options.separatorId
    : null;

  const selector = new WindowSelector(context, choice);
  const bytesTotal = found.files.reduce((sum, file) => sum + file.bytes, 0);
  let documentCount = 0;
  let cutDocumentCount = 0;
  let wasCut = false;
  let hasText = false;
  let charactersDone = 0;
  let charactersAtPause = 0;
  for (const file of found.files) {
    for (const part of documentParts(file, several ? 'several' : 'single')) {
      if (part.startsDocument) {
        documentCount++;
        wasCut = false;
        if (separatorId !== null) selector.push([separatorId]);
      } else if (!wasCut) {
        wasCut = true;
        cutDocumentCount++;
      }
      hasText ||= /\S/.test(part.text);
      selector.push(tokenizer.encode(part.text));
      charactersDone += part.text.length;
      if (charactersDone - charactersAtPause > textLimits.chunkBytes) {
        charactersAtPause = charactersDone;
        options.onProgress?.({
          bytesDone: Math.min(charactersDone, bytesTotal),
          bytesTotal,
          tokens: selector.tokensSeen,
        });
        await setImmediate();
        if (signal?.aborted) throw new DBellError('stopped', `reading ${found.name} was stopped`);
      }
    }
  }
  if (!hasText)
    throw new DBellError(
      'invalid-text',
      `${found.name} holds no text: ${bytesTotal} bytes, all of them blank or separators`,
    );
  checkAmount(found.name, bytesTotal, selector, options);
  const { ids, windowCount } = selector.take();
  return {
    ids,
    windowCount,
    context,
    source: {
      name: found.name,
      textSha256,
      documentCount,
      cutDocumentCount,
      totalTokens: selector.tokensSeen,
      separatorId,
    },
    selection: choice.kind === 'first' ? { kind: 'first' } : { kind: 'seeded', seed: choice.seed },
    fingerprint: fingerprintOf(ids, windowCount, context),
  };
}

/** One file: the hash of its bytes. A folder: over names and hashes, so that a renamed or moved file counts as another text. */
function hashFiles(found: TextFiles): string {
  const hashes = found.files.map((file) => ({ name: file.name, sha256: checkTextFile(file) }));
  if (!found.isFolder) return (hashes[0] as { sha256: string }).sha256;
  const hash = createHash('sha256');
  for (const { name, sha256 } of hashes) hash.update(`${sha256}  ${name}\n`);
  return hash.digest('hex');
}

function checkOptions(tokenizer: Tokenizer, options: ReadWindowsOptions): void {
  const { context, choice, modelContextLength, separatorId } = options;
  const refuse = (message: string) => {
    throw new DBellError('invalid-input', message);
  };
  if (!Number.isInteger(context) || context < 2 || context > textLimits.maxContext)
    refuse(`a window has ${context} tokens; it needs an integer from 2 to ${textLimits.maxContext}`);
  if (modelContextLength !== undefined) checkContext(context, modelContextLength);
  if (choice.count !== 'all') {
    if (!Number.isInteger(choice.count) || choice.count < 1)
      refuse(`the number of windows is ${choice.count}; it must be an integer from 1`);
    if (choice.count * context > textLimits.maxSelectedTokens)
      refuse(
        `${choice.count} windows of ${context} tokens are ${choice.count * context} tokens; the limit is ${textLimits.maxSelectedTokens}`,
      );
  }
  if (choice.kind === 'seeded' && (!Number.isSafeInteger(choice.seed) || choice.seed < 0))
    refuse(`the seed is ${choice.seed}; it must be an integer from 0`);
  if (
    separatorId !== undefined &&
    separatorId !== null &&
    (!Number.isInteger(separatorId) || separatorId < 0 || separatorId >= tokenizer.vocabularySize)
  )
    refuse(
      `the document separator ${separatorId} is no token id; the vocabulary has ids from 0 to ${tokenizer.vocabularySize - 1}`,
    );
}

function checkAmount(
  name: string,
  bytes: number,
  selector: WindowSelector,
  { context, choice }: ReadWindowsOptions,
): void {
  const wanted = choice.count === 'all' ? 1 : choice.count;
  if (selector.windowsSeen >= wanted) return;
  const found = selector.tokensSeen;
  const needed = wanted * context;
  const missingBytes = Math.ceil((needed - found) * (bytes / Math.max(found, 1)));
  const windows = (count: number) => `${count} ${count === 1 ? 'window' : 'windows'} of ${context} tokens`;
  throw new DBellError(
    'invalid-text',
    `${name} is too short: ${windows(wanted)} need ${needed} tokens, the text has ${found} (${windows(selector.windowsSeen)}); ` +
      `${needed - found} tokens are missing, roughly ${formatBytes(missingBytes)} more text of this kind. Add text, or ask for fewer or shorter windows`,
  );
}
