import { type ReadWindowsOptions, readTokenWindows } from '../../calibration/read-windows.ts';
import { findTextFiles } from '../../calibration/text-files.ts';
import type { TokenWindows } from '../../calibration/windows.ts';
import type { TextSource } from '../../contract/common.ts';
import type { JobTask } from '../../contract/jobs.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { TaskControl } from './control.ts';

/** Whether a text is there and has files of the right kind, before a model is loaded for it. Throws DBellError `not-found` or `invalid-text`. */
export function checkText(text: TextSource): void {
  findTextFiles(nameOf(text));
}

function nameOf(text: TextSource): string {
  return 'path' in text ? text.path : `bundled:${text.bundled}`;
}

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
  return readTokenWindows(nameOf(text), tokenizer, {
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
