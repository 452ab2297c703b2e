/**
 * GPT-2's table of bytes ↔ printable characters, which byte-level vocabularies are written in: printable Latin-1 stands for
 * itself, the other 68 bytes for U+0100 and up.
 */
export const byteToCharacter: readonly string[] = buildTable();

/** Character → byte; characters outside the table are absent. */
export const characterToByte: ReadonlyMap<string, number> = new Map(
  byteToCharacter.map((character, byte) => [character, byte]),
);

function buildTable(): string[] {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let extra = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : extra++));
}

/** Text as byte-level characters; lone surrogates become U+FFFD as in any UTF-8 encoder. */
export function toByteCharacters(text: string): string {
  let result = '';
  for (const byte of Buffer.from(text, 'utf8')) result += byteToCharacter[byte];
  return result;
}
