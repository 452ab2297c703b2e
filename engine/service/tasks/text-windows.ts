import { type ReadWindowsOptions, readTokenWindows } from '../../calibration/read-windows.ts';
import type { TokenWindows } from '../../calibration/windows.ts';
import type { TextSource } from '../../contract/common.ts';
import type { JobTask } from '../../contract/jobs.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { TaskControl } from './control.ts';

/** Token windows of a file, folder or bundled text, with progress and stop. */
export async function readWindows(
  task: JobTask,
  text: TextSource,
  model: { tokenizer: Tokenizer; architecture: Architecture },
  options: Pick<ReadWindowsOptions, 'context' | 'choice' | 'separatorId'>,
  control: TaskControl,
): Promise<TokenWindows> {
  const { architecture, tokenizer } = model;
  const abort = new AbortController();
  return readTokenWindows('path' in text ? text.path : `bundled:${text.bundled}`, tokenizer, {
    ...options,
    modelContextLength: architecture.contextLength,
    beginOfTextId: architecture.beginOfTextId,
    signal: abort.signal,
    onProgress: () => {
      if (control.stopRequested()) abort.abort();
      control.progress({
        task,
        stage: 'read text',
        fraction: null,
        step: null,
        item: null,
        relativeError: null,
        remainingMs: null,
      });
    },
  });
}
