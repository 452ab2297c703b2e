/** C0 and C1 but for line feed and tab, and DEL: what a terminal takes for a command. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these very characters are meant.
const terminalControls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Characters that turn the direction of a text, by which a name can look like another one (Unicode Standard Annex 9, 2). */
const directionControls = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;

/** Text that others wrote, which a terminal shows and does not obey: each control character becomes U+FFFD; line feeds and tabs stay. */
export function withoutTerminalControls(text: string): string {
  return text.replaceAll(terminalControls, '\ufffd');
}

/** The same for a name or a message: without what turns its direction, too. */
export function withoutControls(text: string): string {
  return withoutTerminalControls(text).replaceAll(directionControls, '\ufffd');
}
