/** Plain-text tables that stay within 80 columns. */

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** Longer cells are cut with an ellipsis. */
  maximumWidth?: number;
}

/** Columns side by side, two spaces between. */
export function table(columns: Column[], rows: string[][]): string {
  // A name may hold a line feed or a tab, which would tear the row apart.
  const inOneLine = (cell: string) => cell.replaceAll(/[\t\n\r\u2028\u2029]+/g, ' ');
  const cells = rows.map((row) =>
    columns.map((column, index) => cut(inOneLine(row[index] ?? ''), column.maximumWidth)),
  );
  const widths = columns.map((column, index) =>
    Math.max(column.title.length, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  const line = (values: string[]) =>
    values
      .map((value, index) => {
        const width = widths[index] ?? 0;
        return columns[index]?.align === 'right' ? value.padStart(width) : value.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n');
}

/** `name  value` lines with the values in one column; values of several lines are indented. */
export function pairs(entries: [name: string, value: string | null | undefined][]): string {
  const shown = entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  const indent = ' '.repeat(width + 2);
  return shown
    .map(([name, value]) => `${name.padEnd(width)}  ${value.replaceAll(/\n(?!\n|$)/g, `\n${indent}`)}`)
    .join('\n');
}

/** Breaks a text between words so that no line is longer, unless a word is. */
export function wrap(text: string, maximumWidth: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= maximumWidth)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}

export function cut(text: string, maximumWidth = Number.POSITIVE_INFINITY): string {
  return text.length <= maximumWidth ? text : `${text.slice(0, maximumWidth - 1)}…`;
}
