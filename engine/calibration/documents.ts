import { DBellError } from '../contract/errors.ts';
import { documentSeparatorText, textLimits } from './limits.ts';
import { textChunks } from './text-chunks.ts';
import type { TextFile } from './text-files.ts';

/** A document, or a part of one that is too long to be handled at once. */
export interface DocumentPart {
  text: string;
  startsDocument: boolean;
}

/** Several documents: newlines around each are stripped, empty ones are dropped. One: taken as it is. */
export type DocumentMode = 'several' | 'single';

/** A separator ends its line (`documentSeparatorText`); `\r` belongs to a file with Windows line ends. */
const separatorPattern = /<\|endoftext\|>\r?(?:\n|$)/g;
const separatorLookBack = documentSeparatorText.length + 2;

/** Whether files hold more than one document together; reads no further than the second. */
export function haveSeveralDocuments(files: readonly TextFile[]): boolean {
  let count = 0;
  for (const file of files) {
    for (const part of documentParts(file, 'several')) if (part.startsDocument && ++count > 1) return true;
  }
  return false;
}

/** Documents of a file in order; blank documents are left out. Throws `invalid-text` naming a bad line of a .jsonl file. */
export function* documentParts(file: TextFile, mode: DocumentMode): Generator<DocumentPart> {
  if (file.format === 'json-lines') yield* jsonLinesDocuments(file, mode);
  else yield* textDocuments(file, mode);
}

function* textDocuments(file: TextFile, mode: DocumentMode): Generator<DocumentPart> {
  const splitter = new PartSplitter(mode);
  let rest = '';
  for (const chunk of textChunks(file)) {
    rest += chunk;
    // A separator that begins before the limit is there whole; what comes later stays for the next chunk.
    const limit = rest.length - separatorLookBack;
    let start = 0;
    for (const match of rest.matchAll(separatorPattern)) {
      if (match.index >= limit) break;
      yield* splitter.append(rest.slice(start, match.index));
      yield* splitter.endDocument();
      start = match.index + match[0].length;
    }
    const end = Math.max(start, wholeCharacters(rest, limit));
    yield* splitter.append(rest.slice(start, end));
    rest = rest.slice(end);
  }
  let start = 0;
  for (const match of rest.matchAll(separatorPattern)) {
    yield* splitter.append(rest.slice(start, match.index));
    yield* splitter.endDocument();
    start = match.index + match[0].length;
  }
  yield* splitter.append(rest.slice(start));
  yield* splitter.endDocument();
}

function* jsonLinesDocuments(file: TextFile, mode: DocumentMode): Generator<DocumentPart> {
  const splitter = new PartSplitter(mode);
  for (const { line, number } of lines(file)) {
    if (line.trim() === '') continue;
    yield* splitter.append(textOfJsonLine(file, line, number));
    yield* splitter.endDocument();
  }
}

function textOfJsonLine(file: TextFile, line: string, number: number): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new DBellError(
      'invalid-text',
      `${file.name}, line ${number}: not valid JSON (${(error as Error).message.slice(0, 120)}); each line must be an object with a field text`,
      { cause: error },
    );
  }
  if (typeof value === 'object' && value !== null && 'text' in value && typeof value.text === 'string')
    return value.text;
  throw new DBellError('invalid-text', `${file.name}, line ${number}: no field text with a string`);
}

/** Lines of a file without their ends, numbered from 1. */
function* lines(file: TextFile): Generator<{ line: string; number: number }> {
  let pieces: string[] = [];
  let number = 1;
  for (const chunk of textChunks(file)) {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', start)) {
      pieces.push(chunk.slice(start, end));
      yield { line: pieces.join(''), number: number++ };
      pieces = [];
      start = end + 1;
    }
    pieces.push(chunk.slice(start));
    if (pieces.length * textLimits.chunkBytes > 2 ** 29)
      throw new DBellError('invalid-text', `${file.name}, line ${number}: longer than 512 MiB`);
  }
  yield { line: pieces.join(''), number };
}

/** Collects a document's text, strips newlines around it, and cuts it where it gets too long. */
class PartSplitter {
  readonly #mode: DocumentMode;
  #text = '';
  #started = false;

  constructor(mode: DocumentMode) {
    this.#mode = mode;
  }

  *append(text: string): Generator<DocumentPart> {
    this.#text += text;
    if (!this.#started && this.#mode === 'several') this.#text = this.#text.replace(/^[\r\n]+/, '');
    while (this.#text.length > textLimits.documentPartLength + textLimits.partSearchLength) {
      const at = cutPosition(this.#text, textLimits.documentPartLength);
      yield this.#part(this.#text.slice(0, at));
      this.#text = this.#text.slice(at);
    }
  }

  *endDocument(): Generator<DocumentPart> {
    const text = this.#mode === 'several' ? stripEnd(this.#text) : this.#text;
    if (this.#started ? text !== '' : text.trim() !== '') yield this.#part(text);
    this.#text = '';
    this.#started = false;
  }

  #part(text: string): DocumentPart {
    const startsDocument = !this.#started;
    this.#started = true;
    return { text, startsDocument };
  }
}

/** Removes newlines at the end, without a regular expression that would retry at every newline of the text. */
function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === '\n' || text[end - 1] === '\r')) end--;
  return text.slice(0, end);
}

/** Before a run of newlines, else before a blank, else between two characters. */
function cutPosition(text: string, wanted: number): number {
  const searched = text.slice(wanted - textLimits.partSearchLength, wanted);
  for (const pattern of [/[^\r\n][\r\n]+[^\r\n]*$/, /\S\s\S*$/]) {
    const match = pattern.exec(searched);
    if (match !== null) return wanted - textLimits.partSearchLength + match.index + 1;
  }
  return wholeCharacters(text, wanted);
}

/** The index, or one less where it would split a surrogate pair; at least 0. */
function wholeCharacters(text: string, index: number): number {
  if (index <= 0) return 0;
  return (text.charCodeAt(index - 1) & 0xfc00) === 0xd800 ? index - 1 : index;
}
