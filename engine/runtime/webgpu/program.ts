import type { GpuContext, UniformPages } from './context.ts';
import type { Kernel } from './kernels/kernel.ts';

/** Counts of workgroups. */
export type Extent = [x: number, y: number, z: number];

/** One dispatch, described before its pipeline and bind group exist. */
export interface StepDescription {
  /** For a single row, and for more; they differ in the tokens that a thread carries. */
  one: Kernel;
  many?: Kernel;
  /** Tokens of a tile of `many`. */
  tile?: number;
  parameters: Readonly<Record<string, number>>;
  buffers: readonly GPUBuffer[];
  /** Workgroups for `tiles` tiles of tokens. */
  extent: (tiles: number) => Extent;
}

interface Step {
  one: GPUComputePipeline;
  many: GPUComputePipeline;
  tile: number;
  bindGroup: GPUBindGroup;
  extent: (tiles: number) => Extent;
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
    await context.prepare(descriptions.flatMap(({ one, many }) => (many ? [one, many] : [one])));
    return new Program(
      descriptions.map(({ one, many = one, tile = 1, parameters, buffers, extent }) => {
        const { pipeline, layout } = context.pipeline(one);
        const bindings = [
          { buffer: chunk },
          uniforms.add(one, parameters),
          ...buffers.map((buffer) => ({ buffer })),
        ];
        return {
          one: pipeline,
          many: context.pipeline(many).pipeline,
          tile,
          bindGroup: context.device.createBindGroup({
            layout,
            entries: bindings.map((resource, binding) => ({ binding, resource })),
          }),
          extent,
        };
      }),
    );
  }

  /** Adds the dispatches for `rows` rows to a pass. */
  encode(pass: GPUComputePassEncoder, rows: number): void {
    for (const { one, many, tile, bindGroup, extent } of this.#steps) {
      pass.setPipeline(rows === 1 ? one : many);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...extent(rows === 1 ? 1 : Math.ceil(rows / tile)));
    }
  }
}
