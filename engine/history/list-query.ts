import type { z } from 'zod';
import type { HistoryListInput, sortKeySchema } from '../contract/history.ts';
import { figureSql } from './related-runs.ts';

/** Sort keys that are columns; the others are metrics. */
const sortColumns: Partial<Record<z.infer<typeof sortKeySchema>, string>> = {
  createdAt: 'created_at',
  endedAt: 'ended_at',
  kind: 'kind',
  state: 'state',
  modelName: 'fold(model_name)',
  recipe: 'fold(recipe)',
};

/** Which runs a page of the table is of, and their order, as SQL with the values to bind. Runs without the figure sorted by come last either way. */
export function listQuery(input: HistoryListInput): {
  filter: string;
  values: unknown[];
  order: string;
  orderValues: unknown[];
} {
  const conditions = ['deletion_id IS NULL'];
  const values: unknown[] = [];
  const where = (condition: string, ...bound: unknown[]) => {
    conditions.push(condition);
    values.push(...bound);
  };
  if (input.kind !== undefined) where('kind = ?', input.kind);
  if (input.state !== undefined) where('state = ?', input.state);
  if (input.recipe !== undefined) where('recipe = ?', input.recipe);
  if (input.tag !== undefined)
    where('EXISTS (SELECT 1 FROM tags WHERE tags.run_id = runs.run_id AND tag = ?)', input.tag);
  for (const word of fold(input.text ?? '').split(/\s+/))
    if (word !== '')
      where(
        `(instr(fold(model_name), ?) OR instr(fold(coalesce(recipe, '')), ?) OR instr(fold(note), ?)
          OR EXISTS (SELECT 1 FROM tags WHERE tags.run_id = runs.run_id AND instr(fold(tag), ?)))`,
        ...[word, word, word, word],
      );
  const column = sortColumns[input.sortBy];
  const key = column ?? figureSql;
  const direction = input.descending ? 'DESC' : 'ASC';
  return {
    filter: conditions.join(' AND '),
    values,
    order: `${key} ${direction} NULLS LAST, created_at DESC, run_id`,
    orderValues: column === undefined ? [input.sortBy, input.sortBy, input.sortBy] : [],
  };
}

/** For search and sorting: case and Unicode form do not matter. */
export function fold(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}
