import { rmSync } from 'node:fs';
import path from 'node:path';
import type { StageState } from '../float/types.ts';
import type { Architecture, Block, StageName } from '../model/architecture.ts';
import { stageWidth } from './cost-model.ts';
import { WindowFile } from './hidden-states.ts';

/**
 * States of all windows between the stages of one block, on disk: the next stage can only be entered when all windows have left the one before and
 * its linears are quantized. Only what the next piece of the block needs is kept: at attention-out the block's input and the stage's input, at the
 * mlp stages the residual stream and the stage's input. The input of attention-in is a norm of the block's input and is computed again instead.
 */
export class StageStates {
  private readonly folder: string;
  private readonly windowCount: number;
  private readonly context: number;
  private readonly architecture: Architecture;
  private readonly block: Block;
  private readonly input: WindowFile;
  private readonly files = new Map<string, WindowFile>();

  constructor(settings: {
    folder: string;
    windowCount: number;
    context: number;
    architecture: Architecture;
    block: Block;
    /** The block's inputs. */
    input: WindowFile;
  }) {
    this.folder = settings.folder;
    this.windowCount = settings.windowCount;
    this.context = settings.context;
    this.architecture = settings.architecture;
    this.block = settings.block;
    this.input = settings.input;
  }

  /** State at the border of `stage`, `null` for the block's input; arrays are valid until the next call. */
  load(stage: StageName | null, window: number): StageState {
    switch (stage) {
      case null:
      case 'attention-in':
        return { hidden: this.input.read(window) };
      case 'attention-out':
        return { hidden: this.input.read(window), stageInput: this.file(stage).read(window) };
      case 'mlp-in':
      case 'mlp-out':
        return {
          // Behind the attention's addition nothing reads the block's input any more.
          hidden: new Float32Array(0),
          stageInput: this.file(stage).read(window),
          residual: this.file('residual').read(window),
        };
    }
  }

  /** Keeps what was computed on entering `stage`; windows come in order. */
  save(stage: StageName, window: number, state: StageState): void {
    if (stage === 'attention-in') return;
    if (state.stageInput) this.file(stage).write(window, state.stageInput);
    if (stage === 'mlp-in' && state.residual) this.file('residual').write(window, state.residual);
  }

  /** Deletes a stage's file once the next stage was entered with all windows. */
  drop(stage: StageName): void {
    const file = this.files.get(stage);
    if (!file) return;
    file.close();
    this.files.delete(stage);
    rmSync(file.path, { force: true });
  }

  close(): void {
    for (const file of this.files.values()) {
      file.close();
      rmSync(file.path, { force: true });
    }
    this.files.clear();
  }

  private file(name: StageName | 'residual'): WindowFile {
    let file = this.files.get(name);
    if (!file) {
      const stage = this.block.stages.find((candidate) => candidate.name === name);
      const width = stage ? stageWidth(stage) : this.architecture.hiddenSize;
      const filePath = path.join(this.folder, `scratch-${name}.f32`);
      file = WindowFile.createScratch(filePath, this.windowCount, this.context * width);
      this.files.set(name, file);
    }
    return file;
  }
}
