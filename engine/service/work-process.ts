import { setImmediate } from 'node:timers/promises';
import { parseAs, toErrorPayload } from '../contract/error-payload.ts';
import { DBellError } from '../contract/errors.ts';
import { useGpuProvider } from '../runtime/webgpu/gpu-device.ts';
import { windowProvider } from '../runtime/webgpu/window/window-provider.ts';
import { requestComputePort } from './desktop/compute-port.ts';
import { createTaskControl } from './tasks/control.ts';
import { tasks } from './tasks/index.ts';
import { electronParentPort, forkChannel, utilityChannel } from './work-channel.ts';
import { type TaskKind, taskSchemas, toWorkProcessSchema } from './work-protocol.ts';

/**
 * Entry of a work process. It does one task and ends, unless it is kept: native code (onnxruntime, the addon) blocks or crashes only this process, and its peak
 * memory is the task's own.
 */
const parentPort = electronParentPort();
const found = parentPort ? await utilityChannel(parentPort) : forkChannel();
if (!found) {
  process.stderr.write('This file is started by the service of DBell Studio and does nothing by itself.\n');
  process.exit(2);
}
const channel = found;
// Dawn cannot run in Electron's processes; a hidden window of the desktop program computes for them.
if (parentPort) useGpuProvider(windowProvider(() => requestComputePort(parentPort)));

// Ctrl-C reaches the whole process group; the service decides what becomes of the work.
process.on('SIGINT', () => {});
process.on('SIGHUP', () => {});
// Without its service this process must not go on writing.
channel.onLost(() => process.kill(process.pid, 'SIGKILL'));

/** Of the task in work, or of the one before while none is. */
let control = createTaskControl(channel.send);
let running = false;

channel.onMessage((raw) => {
  try {
    const message = parseAs(toWorkProcessSchema, raw, 'message of the service', 'internal');
    if (message.type === 'pause') control.pause();
    else if (message.type === 'continue') control.continue();
    else if (message.type === 'stop') control.stop();
    else if (message.type === 'turn') control.giveTurn();
    else if (running) throw new DBellError('internal', 'a work process does one task at a time');
    else {
      running = true;
      control = createTaskControl(channel.send);
      void run(message.task, message.input, message.keep);
    }
  } catch (error) {
    fail(error);
  }
});

async function run(kind: TaskKind, rawInput: unknown, keep: boolean): Promise<void> {
  try {
    // Of a service that died while this process was loading only a turn of the loop tells, and the first may be the one that brought the message.
    for (let turn = 0; turn < 2; turn++) await setImmediate();
    const input = parseAs(taskSchemas[kind].input, rawInput, `input of ${kind}`);
    const task = await tasks[kind]();
    const result = await task(input as never, control);
    control.flush();
    running = false;
    // What was to be stopped is not wanted any more.
    if (keep && !control.stopRequested()) channel.send({ type: 'result', result, isLast: false });
    else channel.sendLast({ type: 'result', result, isLast: true });
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  control.flush();
  const payload = toErrorPayload(error);
  if (payload.code === 'internal' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  channel.sendLast({ type: 'error', error: payload });
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
