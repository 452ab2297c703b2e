import type { Architecture } from '../model/architecture.ts';
import { columnScaledStages, columnScaleFeeds, rotaryFeeds, weightFeeds } from './feeds.ts';
import { assertFinite } from './finite.ts';
import { cachedMask } from './graphs/attention.ts';
import { buildBlockGraph, describeBorder } from './graphs/block-graph.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import { type RotaryTables, rotaryTables } from './rotary.ts';
import { type Feed, GraphSession } from './session.ts';
import type { ActivationBits, ActivationScales, BlockWeights, ColumnScales } from './types.ts';

/** New positions that go through a block at once: enough for the matrix products to run at full speed, and their scores stay small. */
export const positionsPerChunk = 256;

/** Runs blocks on new positions behind a KV cache: one at a time in decode, any number in prefill. */
export class CachedBlockRunner {
  private readonly architecture: Architecture;
  private readonly threads: number;
  private readonly activationBits: ActivationBits;
  private readonly activationScales: ActivationScales;
  private readonly sessions = new Map<string, GraphSession>();
  private rotary: RotaryTables | null = null;

  constructor(
    architecture: Architecture,
    threads: number,
    activationBits: ActivationBits,
    activationScales: ActivationScales,
  ) {
    this.architecture = architecture;
    this.threads = threads;
    this.activationBits = activationBits;
    this.activationScales = activationScales;
  }

  /**
   * One block on new positions; keys and values go into `cache`.
   *
   * @param hidden `[positions, hiddenSize]`; its first position follows the cache's last
   * @returns the block's output, `[positions, hiddenSize]`
   */
  async forward(
    blockIndex: number,
    weights: BlockWeights,
    columnScales: ColumnScales | undefined,
    hidden: Float32Array,
    cache: KeyValueCache,
  ): Promise<Float32Array> {
    const { architecture } = this;
    const { hiddenSize } = architecture;
    const fixed = {
      ...weightFeeds(architecture, blockIndex, weights),
      ...columnScaleFeeds(architecture, columnScales),
    };
    const total = hidden.length / hiddenSize;
    const out = new Float32Array(hidden.length);
    for (let begin = 0; begin < total; begin += positionsPerChunk) {
      const rows = Math.min(positionsPerChunk, total - begin);
      const chunk = hidden.subarray(begin * hiddenSize, (begin + rows) * hiddenSize);
      const session = await this.session(rows === 1 ? 'one' : 'many', columnScales);
      const outputs = await session.run({
        ...fixed,
        ...this.positionFeeds(cache, rows),
        hidden: { data: chunk, shape: [rows, hiddenSize] },
      });
      assertFinite(outputs.out!, rows, `block ${blockIndex}: ${describeBorder('block-out')}`);
      cache.append(outputs['new.key']!, outputs['new.value']!);
      out.set(outputs.out!, begin * hiddenSize);
    }
    return out;
  }

  async close(): Promise<void> {
    for (const session of this.sessions.values()) await session.close();
    this.sessions.clear();
  }

  /** Cache, mask and rotary rows for so many new positions behind the cache. */
  private positionFeeds(cache: KeyValueCache, rows: number): Record<string, Feed> {
    const begin = cache.positions;
    const end = begin + rows;
    const { capacity } = cache;
    const mask = cachedMask(begin, rows, capacity, this.architecture.slidingWindow ?? end);
    return {
      ...cache.feeds(),
      ...rotaryFeeds(this.rotaryUpTo(end), begin, rows),
      'attention.mask': { data: mask, shape: [rows, capacity + rows] },
    };
  }

  private rotaryUpTo(length: number): RotaryTables | null {
    if (this.architecture.position.kind !== 'rope') return null;
    if (!this.rotary || this.rotary.length < length) {
      // Doubling, since a decode asks for one position more each time.
      this.rotary = rotaryTables(this.architecture, Math.max(length, 2 * (this.rotary?.length ?? 0)));
    }
    return this.rotary;
  }

  private async session(rows: 'one' | 'many', columnScales: ColumnScales | undefined): Promise<GraphSession> {
    const columnScaled = columnScaledStages(columnScales);
    const key = [rows, ...columnScaled].join();
    let session = this.sessions.get(key);
    if (!session) {
      const graph = buildBlockGraph(this.architecture, {
        from: 'block-in',
        to: 'block-out',
        activationBits: this.activationBits,
        activationScales: this.activationScales,
        columnScaled,
        absMax: [],
        inputs: [],
        sums: [],
        gram: 'none',
        preparation: 'before',
        attention: { kind: 'cached', rows },
      });
      session = await GraphSession.create(graph, 'a block with a KV cache', this.threads);
      this.sessions.set(key, session);
    }
    return session;
  }
}
