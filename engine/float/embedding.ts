import { DBellError } from '../contract/errors.ts';
import type { ModelSource } from '../model/source.ts';

/** What enters the first block; reads only the table rows that are asked for. */
export class Embedding {
  private readonly source: ModelSource;
  private projection: Float32Array | null = null;

  constructor(source: ModelSource) {
    this.source = source;
  }

  /**
   * Embedding rows of `ids`, projected where the model has a `project_in` (OPT-350M), plus learned positions from `firstPosition` on.
   * Returns `[ids.length, hiddenSize]`. Throws `invalid-input` for ids outside the vocabulary and positions outside the table.
   */
  embed(ids: Int32Array, firstPosition = 0): Float32Array {
    const { hiddenSize, vocabularySize } = this.source.architecture;
    const hidden = new Float32Array(ids.length * hiddenSize);
    const firstIndexOfId = new Map<number, number>();
    for (const [index, id] of ids.entries()) {
      if (id < 0 || id >= vocabularySize)
        throw new DBellError(
          'invalid-input',
          `token id ${id} at position ${firstPosition + index} is outside the vocabulary of ${vocabularySize}; the text was tokenized for another model`,
        );
      const row = hidden.subarray(index * hiddenSize, (index + 1) * hiddenSize);
      const earlier = firstIndexOfId.get(id);
      if (earlier === undefined) {
        this.readRow(id, row);
        firstIndexOfId.set(id, index);
      } else {
        row.set(hidden.subarray(earlier * hiddenSize, (earlier + 1) * hiddenSize));
      }
    }
    this.addPositions(hidden, ids.length, firstPosition);
    return hidden;
  }

  private readRow(id: number, into: Float32Array): void {
    const { table, projectIn, embeddingSize } = this.source.architecture.embedding;
    if (!projectIn) {
      this.source.readRowsFloat32(table, id, 1, into);
      return;
    }
    this.projection ??= this.source.readFloat32(projectIn);
    const row = this.source.readRowsFloat32(table, id, 1);
    for (let out = 0; out < into.length; out++) {
      const weights = this.projection.subarray(out * embeddingSize, (out + 1) * embeddingSize);
      let sum = 0;
      for (let index = 0; index < embeddingSize; index++) sum += weights[index]! * row[index]!;
      into[out] = sum;
    }
  }

  private addPositions(hidden: Float32Array, count: number, firstPosition: number): void {
    const { position, contextLength } = this.source.architecture;
    if (position.kind !== 'learned') return;
    if (firstPosition + count > contextLength)
      throw new DBellError(
        'invalid-input',
        `${firstPosition + count} positions do not fit the model's table of ${contextLength} learned positions; use a context of at most ${contextLength}`,
      );
    const rows = this.source.readRowsFloat32(position.table, firstPosition + position.offset, count);
    for (let index = 0; index < hidden.length; index++) hidden[index]! += rows[index]!;
  }
}
