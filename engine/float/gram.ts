import { numerics } from '../native/numerics.ts';
import { type GraphBuilder, int } from './onnx/graph-builder.ts';
import type { GramAccumulator } from './types.ts';

/**
 * XᵀX is symmetric, so only the column blocks' upper panels are computed: panel b holds rows of block b and columns from the block's
 * first one on. Four blocks save 3/8 of the multiplications; more blocks save little and make the products small.
 */
const panelCount = 4;

export interface GramPanel {
  /** Graph output. */
  name: string;
  /** First row and first column of the panel in XᵀX. */
  begin: number;
  rows: number;
  columns: number;
}

export function gramPanels(size: number): GramPanel[] {
  const rowsPerPanel = Math.ceil(size / panelCount);
  const panels: GramPanel[] = [];
  for (let begin = 0; begin < size; begin += rowsPerPanel) {
    const rows = Math.min(rowsPerPanel, size - begin);
    panels.push({ name: `gram.${panels.length}`, begin, rows, columns: size - begin });
  }
  return panels;
}

/** Adds outputs `gram.N` for the panels of XᵀX, X `[rows, size]`. */
export function addGramOutputs(graph: GraphBuilder, value: string, size: number): void {
  for (const panel of gramPanels(size)) {
    const left = graph.slice(value, 1, panel.begin, panel.begin + panel.rows);
    const right = panel.begin === 0 ? value : graph.slice(value, 1, panel.begin, size);
    const product = graph.node('Gemm', [left, right], { attributes: { transA: int(1) } });
    graph.output(product, panel.name, 'float32', [panel.rows, panel.columns]);
  }
}

/** Float64 sums of the panels over windows; mirrored when the matrix is asked for. */
export class PanelGramAccumulator implements GramAccumulator {
  readonly size: number;
  readonly panels: readonly GramPanel[];
  private readonly sums: readonly Float64Array[];
  private rowCount = 0;

  constructor(size: number) {
    this.size = size;
    this.panels = gramPanels(size);
    this.sums = this.panels.map((panel) => new Float64Array(panel.rows * panel.columns));
  }

  get tokens(): number {
    return this.rowCount;
  }

  /** Adds one window's panels, each `[rows, columns]`, in the order of `panels`. */
  add(panels: readonly Float32Array[], rows: number): void {
    for (const [index, panel] of panels.entries()) numerics.addToFloat64(this.sums[index]!, panel);
    this.rowCount += rows;
  }

  matrix(): Float64Array {
    const { size } = this;
    const matrix = new Float64Array(size * size);
    for (const [index, { begin, rows, columns }] of this.panels.entries()) {
      const sums = this.sums[index]!;
      for (let row = 0; row < rows; row++) {
        for (let column = row; column < columns; column++) {
          const value = sums[row * columns + column]!;
          matrix[(begin + row) * size + begin + column] = value;
          matrix[(begin + column) * size + begin + row] = value;
        }
      }
    }
    return matrix;
  }
}
