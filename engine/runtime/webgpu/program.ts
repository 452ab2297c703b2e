import type { GpuContext, UniformPages } from './context.ts';
import type { Kernel } from './kernels/kernel.ts';

/** Counts of workgroups. */
export type Extent = [x: number, y: number, z: number];

/** A kernel that takes several rows together. */
export interface TiledKernel {
  kernel: Kernel;
  /** Rows that it is for, at least. */
  fromRows: number;
  /** Rows of its tile. */
  tile: number;
  /** Workgroups, where they are not those of the step. */
  extent?: (tiles: number) => Extent;
}

/** One dispatch, described before its pipeline and bind group exist. */
export interface StepDescription {
  /** Takes each row by itself. */
  one: Kernel;
  /** Others for more rows, with the same parameters and buffers, by rising `fromRows`. */
  tiled?: readonly TiledKernel[];
  parameters: Readonly<Record<string, number>>;
  buffers: readonly GPUBuffer[];
  /** Workgroups for `tiles` tiles of rows. */
  extent: (tiles: number) => Extent;
}

interface Way {
  pipeline: GPUComputePipeline;
  fromRows: number;
  tile: number;
  extent: (tiles: number) => Extent;
}

interface Step {
  /** By falling `fromRows`, down to 1. */
  ways: Way[];
  bindGroup: GPUBindGroup;
}

/** Dispatches that follow one another; built once, encoded for every chunk. */
export class Program {
  readonly #steps: Step[];

  private constructor(steps: Step[]) {
    this.#steps = steps;
  }

  /** Compiles what is not compiled yet and binds the buffers. `chunk` is the uniform buffer of the chunk's state. */
  static async build(
    context: GpuContext,
    chunk: GPUBuffer,
    uniforms: UniformPages,
    descriptions: readonly StepDescription[],
  ): Promise<Program> {
    await context.prepare(
      descriptions.flatMap(({ one, tiled = [] }) => [one, ...tiled.map(({ kernel }) => kernel)]),
    );
    return new Program(
      descriptions.map(({ one, tiled = [], parameters, buffers, extent }) => {
        const { layout } = context.pipeline(one);
        const bindings = [
          { buffer: chunk },
          uniforms.add(one, parameters),
          ...buffers.map((buffer) => ({ buffer })),
        ];
        const kernels: TiledKernel[] = [{ kernel: one, fromRows: 1, tile: 1 }, ...tiled];
        return {
          ways: kernels.reverse().map((way) => ({
            pipeline: context.pipeline(way.kernel).pipeline,
            fromRows: way.fromRows,
            tile: way.tile,
            extent: way.extent ?? extent,
          })),
          bindGroup: context.device.createBindGroup({
            layout,
            entries: bindings.map((resource, binding) => ({ binding, resource })),
          }),
        };
      }),
    );
  }

  /** Adds the dispatches for `rows` rows to a pass. */
  encode(pass: GPUComputePassEncoder, rows: number): void {
    for (const { ways, bindGroup } of this.#steps) {
      const { pipeline, tile, extent } = ways.find(({ fromRows }) => rows >= fromRows)!;
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...extent(Math.ceil(rows / tile)));
    }
  }
}
