import { DBellError } from '../contract/errors.ts';
import type { Architecture, StageName } from '../model/architecture.ts';
import { stageOrder } from './graphs/block-graph.ts';
import { blockParameters, columnScaleInput, stageInputSize } from './graphs/parameters.ts';
import type { RotaryTables } from './rotary.ts';
import type { Feed } from './session.ts';
import type { BlockWeights, ColumnScales } from './types.ts';

/** Weights of a block as graph inputs. Throws DBellError `internal` when one is missing. */
export function weightFeeds(
  architecture: Architecture,
  blockIndex: number,
  weights: BlockWeights,
): Record<string, Feed> {
  const feeds: Record<string, Feed> = {};
  for (const { input, tensor, shape } of blockParameters(architecture, architecture.blocks[blockIndex]!)) {
    const data = weights.get(tensor);
    if (!data) throw new DBellError('internal', `block ${blockIndex}: weight ${tensor} was not given`);
    feeds[input] = { data, shape };
  }
  return feeds;
}

/** Column scales as graph inputs. */
export function columnScaleFeeds(
  architecture: Architecture,
  columnScales: ColumnScales | undefined,
): Record<string, Feed> {
  const feeds: Record<string, Feed> = {};
  for (const stage of columnScaledStages(columnScales))
    feeds[columnScaleInput(stage)] = {
      data: columnScales![stage]!,
      shape: [stageInputSize(architecture, stage)],
    };
  return feeds;
}

export function columnScaledStages(columnScales: ColumnScales | undefined): StageName[] {
  return stageOrder.filter((stage) => columnScales?.[stage]);
}

/** Rows [begin, begin + count) of the rotary tables as graph inputs. */
export function rotaryFeeds(tables: RotaryTables | null, begin: number, count: number): Record<string, Feed> {
  if (!tables) return {};
  const { width } = tables;
  const rows = (table: Float32Array): Feed => ({
    data: table.subarray(begin * width, (begin + count) * width),
    shape: [count, 1, width],
  });
  return { 'rotary.cosine': rows(tables.cosine), 'rotary.sine': rows(tables.sine) };
}
