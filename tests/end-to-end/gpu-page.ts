import type { Port } from '../../engine/contract/port.ts';
import { GpuContext } from '../../engine/runtime/webgpu/context.ts';
import type { GpuPackage } from '../../engine/runtime/webgpu/gpu-package.ts';
import { navigatorHost } from '../../engine/runtime/webgpu/navigator-host.ts';
import { GpuVerification } from '../../engine/runtime/webgpu/verification.ts';
import type { SentPackage } from '../../engine/runtime/webgpu/window/protocol.ts';
import { type CallTools, serveWindow } from '../../engine/runtime/webgpu/window/window-server.ts';
// Listens for a port, as in the desktop's hidden window.
import '../../engine/service/desktop/compute-page.ts';
import { computePortMessage } from '../../engine/service/desktop/compute-port-message.ts';
import { decode, encode } from './typed-array-messages.ts';

/** The page of the desktop's hidden window in a plain browser, with a WebSocket in place of its port, and calls for single kernels. */

type CheckCall = 'maskedSums' | 'residualSums' | 'linearForward' | 'quantizeActivations';
const checks = new Map<number, { verification: GpuVerification; tools: CallTools }>();
const contexts = new Map<string, Promise<GpuContext>>();
const host = navigatorHost(navigator.gpu ?? null, navigator.platform);

/** Calls that only tests make. */
const checkCalls = {
  'open-check': async (
    { package: sent, options }: { package: SentPackage; options: object },
    tools: CallTools,
  ) => {
    const key = JSON.stringify(options);
    if (!contexts.has(key))
      contexts.set(
        key,
        host.openAdapter(0).then((found) => GpuContext.open(found, options)),
      );
    const id = checks.size + 1;
    const kept = { verification: null as unknown as GpuVerification, tools };
    // Weights go up when a check first needs them; the call of that moment brings their bytes.
    const source: GpuPackage = { ...sent, read: (...given) => kept.tools.open(sent).read(...given) };
    kept.verification = new GpuVerification(await contexts.get(key)!, source);
    checks.set(id, kept);
    return id;
  },
  check: async (
    { check, call, given }: { check: number; call: CheckCall; given: unknown[] },
    tools: CallTools,
  ) => {
    const kept = checks.get(check)!;
    kept.tools = tools;
    const { verification } = kept;
    return (verification[call] as (...values: unknown[]) => Promise<unknown>).apply(verification, given);
  },
  /** As when a driver fails: the page's newest device is lost in the middle of its work. */
  'lose-device': async () => {
    const device = devices.at(-1)!;
    const submit = device.queue.submit.bind(device.queue);
    let submissions = 0;
    device.queue.submit = (buffers) => {
      submissions += 1;
      if (submissions === 4) device.destroy();
      else submit(buffers);
    };
    return null;
  },
};

const devices: GPUDevice[] = [];
const requestDevice = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  devices.push(await requestDevice.call(this, descriptor));
  return devices.at(-1)!;
};

const socket = (path: string): Promise<WebSocket> => {
  const opened = new WebSocket(`ws://${location.host}/${path}`);
  opened.binaryType = 'arraybuffer';
  return new Promise((resolve) => opened.addEventListener('open', () => resolve(opened)));
};

/** A port as the desktop's preload hands it over. */
async function connectDevice(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const bridge = await socket('device');
  bridge.addEventListener('message', ({ data }) => port2.postMessage(decode(data)));
  bridge.addEventListener('close', () => port2.close());
  port2.addEventListener('message', ({ data }) => bridge.send(encode(data)));
  port2.start();
  window.postMessage(computePortMessage, location.origin, [port1]);
}

async function connectChecks(): Promise<void> {
  const bridge = await socket('checks');
  const port: Port = {
    send: (message) => bridge.send(encode(message)),
    onMessage: (listener) => bridge.addEventListener('message', ({ data }) => listener(decode(data))),
    onClose: (listener) => bridge.addEventListener('close', listener),
    close: () => bridge.close(),
  };
  serveWindow(port, host, checkCalls);
}

await connectDevice();
await connectChecks();
