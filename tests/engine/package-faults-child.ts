/**
 * Finishes a package in a process of its own, so that a test can kill it or limit it: node package-faults-child.ts MODEL OUT MODE. MODE `kill:N` ends the process at
 * the N-th file operation of `finish`; `plain` only finishes. Prints the error as JSON.
 */
import { DBellError } from '../../engine/contract/errors.ts';
import { setFileFault } from '../../engine/files/faults.ts';
import { openModel } from '../../engine/model/open.ts';
import { createPackageSink } from '../../engine/package/sink.ts';
import { finishOptions } from './package-support.ts';

const [model, out, mode] = process.argv.slice(2) as [string, string, string];
const source = await openModel(model);
const sink = createPackageSink({ workDirectory: `${out}.partial`, outputDirectory: out });
if (mode.startsWith('kill:')) {
  let left = Number(mode.slice(5));
  setFileFault(() => {
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  });
}
try {
  await sink.finish(finishOptions(source));
  console.log('{}');
} catch (error) {
  if (!(error instanceof DBellError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
