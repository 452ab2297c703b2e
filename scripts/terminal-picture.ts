/**
 * Draws text from standard input as a picture of a terminal (SVG on standard output), for the README:
 *   npm run demo | npx node scripts/terminal-picture.ts "npm run demo" > docs/images/demo.svg
 * Only what stands behind the last "$ npx dbell" command and its result is drawn; folders of this computer are shortened.
 */
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const command = process.argv[2] ?? '';
const everything = (await text(process.stdin)).replaceAll(`${root}/`, '');
const last = [...everything.matchAll(/^\$ .*\bnpx dbell /gm)].at(-1);
const output = last === undefined ? everything : everything.slice(everything.indexOf('\n\n', last.index) + 2);
const lines = [`$ ${command}`, ...output.trimEnd().split('\n')];

const fontSize = 13;
const lineHeight = 18;
const characterWidth = 7.83;
const padding = 16;
const width = Math.ceil(Math.max(...lines.map((line) => [...line].length)) * characterWidth + 2 * padding);
const height = lines.length * lineHeight + 2 * padding;

function escapeXml(line: string): string {
  return line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

const rows = lines
  .map((line, index) => {
    const y = padding + (index + 1) * lineHeight - 5;
    const fill = index === 0 ? '#8ab4f8' : '#e6e6e6';
    return `<text x="${padding}" y="${y}" fill="${fill}" xml:space="preserve">${escapeXml(line)}</text>`;
  })
  .join('\n');
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="${fontSize}">
<rect width="100%" height="100%" rx="8" fill="#1b1e24"/>
${rows}
</svg>
`);
