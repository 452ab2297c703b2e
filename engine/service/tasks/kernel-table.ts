import { measureKernelTable } from '../../measure/kernel-table.ts';
import type { TaskFunction } from './control.ts';
import { threadCount } from './threads.ts';

export const kernelTableTask: TaskFunction<'kernelTable'> = ({ threads }, control) =>
  measureKernelTable(threadCount(threads), { border: () => control.border() });
