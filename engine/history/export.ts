import { z } from 'zod';
import { DBellError } from '../contract/errors.ts';
import { type RunDetail, runDetailSchema } from '../contract/history.ts';
import { issueInWords } from '../contract/wording.ts';
import { canonicalJson } from '../files/json.ts';
import { maximumImportBytes, maximumImportDepth } from './limits.ts';

/** Version of exported files. */
const exportVersion = 1;

const exportSchema = z.object({
  format: z.literal('dbell-history'),
  version: z.literal(exportVersion),
  runs: z.array(
    runDetailSchema.extend({ createdAt: z.iso.datetime(), endedAt: z.iso.datetime().nullable() }),
  ),
});

/** Columns of the readable exports. */
const columns: { title: string; of: (run: RunDetail) => string }[] = [
  { title: 'created', of: (run) => run.createdAt },
  { title: 'kind', of: (run) => run.kind },
  { title: 'state', of: (run) => run.state },
  { title: 'model', of: (run) => run.modelName },
  { title: 'recipe', of: (run) => run.recipe ?? '' },
  { title: 'activation bits', of: (run) => String(run.activationBits ?? '') },
  { title: 'stored bits', of: (run) => figure(run, 'storedBitsPerWeight', 3) },
  { title: 'perplexity', of: (run) => figure(run, 'perplexity', 3) },
  { title: 'decode tokens/s', of: (run) => figure(run, 'decodeTokensPerSecond', 1) },
  { title: 'bytes of the weight file', of: (run) => figure(run, 'modelBytes', 0) },
  { title: 'bytes of all files', of: (run) => figure(run, 'bytes', 0) },
  { title: 'tags', of: (run) => run.tags.join(', ') },
  { title: 'note', of: (run) => run.note },
];

function figure(run: RunDetail, name: string, digits: number): string {
  const value = run.metrics[name];
  return value === undefined ? '' : value.toFixed(digits);
}

/** Runs as text: JSON holds everything and can be imported, Markdown and HTML are tables to read. */
export function exportText(runs: RunDetail[], format: 'json' | 'markdown' | 'html'): string {
  if (format === 'json') return canonicalJson({ format: 'dbell-history', version: exportVersion, runs });
  const rows = runs.map((run) => columns.map((column) => column.of(run)));
  const titles = columns.map((column) => column.title);
  if (format === 'markdown') {
    const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
    const cell = (text: string) => text.replace(/\s+/g, ' ').replace(/[\\|`<>[\]*_]/g, (sign) => `\\${sign}`);
    return `${[line(titles), line(titles.map(() => '---')), ...rows.map((row) => line(row.map(cell)))].join('\n')}\n`;
  }
  const row = (cells: string[], tag: string) =>
    `<tr>${cells.map((text) => `<${tag}>${escapeHtml(text)}</${tag}>`).join('')}</tr>`;
  return [
    '<!doctype html>',
    '<html lang="en"><meta charset="utf-8"><title>DBell Studio: history</title>',
    '<style>body{font:14px system-ui}table{border-collapse:collapse}td,th{border:1px solid #999;padding:2px 6px;text-align:left}</style>',
    '<table>',
    row(titles, 'th'),
    ...rows.map((cells) => row(cells, 'td')),
    '</table></html>',
    '',
  ].join('\n');
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (sign) => entities[sign] ?? sign);
}

/** Runs of an exported JSON file. Throws DBellError `invalid-input` that names what is wrong; `name` is the file's. */
export function parseExport(bytes: Uint8Array, name: string): RunDetail[] {
  if (bytes.length > maximumImportBytes)
    throw new DBellError(
      'invalid-input',
      `${name} has ${bytes.length} bytes, more than the limit of ${maximumImportBytes} for a history`,
    );
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DBellError('invalid-input', `${name} is not an exported history: it is no JSON`, { cause });
  }
  const version = (value as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > exportVersion)
    throw new DBellError(
      'invalid-input',
      `${name} was exported by a newer version of DBell Studio (version ${version}, this one reads ${exportVersion}); update DBell Studio`,
    );
  if (isDeeperThan(value, maximumImportDepth))
    throw new DBellError(
      'invalid-input',
      `${name} is not an exported history: it is nested deeper than ${maximumImportDepth} levels`,
    );
  const parsed = exportSchema.safeParse(value, { error: issueInWords });
  if (parsed.success) return parsed.data.runs;
  const issue = parsed.error.issues[0];
  throw new DBellError(
    'invalid-input',
    `${name} is not an exported history: ${issue?.path.map(String).join('.')}: ${issue?.message}`,
  );
}

/** Level by level, without recursion: what is asked is whether recursion would end well. */
function isDeeperThan(value: unknown, levels: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > levels) return true;
    const next: unknown[] = [];
    for (const each of level)
      if (typeof each === 'object' && each !== null)
        for (const inner of Object.values(each)) next.push(inner);
    level = next;
  }
  return false;
}
