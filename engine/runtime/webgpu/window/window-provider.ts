import { z } from 'zod';
import {
  errorPayloadSchema,
  fromErrorPayload,
  parseAs,
  toErrorPayload,
} from '../../../contract/error-payload.ts';
import { DBellError } from '../../../contract/errors.ts';
import type { Port } from '../../../contract/port.ts';
import type { TopLogits, TopRequest } from '../../../model/top-logits.ts';
import type { DeviceModel, DeviceOptions, DeviceSession } from '../../device.ts';
import type { GpuPackage } from '../gpu-package.ts';
import type { GpuProvider } from '../provider.ts';
import type { SentPackage, SessionState, ToWindow, WindowCalls } from './protocol.ts';

const id = z.int().nonnegative();
const fromWindowSchema = z.union([
  z.object({ type: z.literal('result'), id, result: z.unknown() }),
  z.object({ type: z.literal('error'), id, error: errorPayloadSchema }),
  z.object({
    type: z.literal('read'),
    call: id,
    id,
    offset: z.int().nonnegative(),
    length: z.int().nonnegative(),
  }),
]);

const floats = z.instanceof(Float32Array);
const wholeNumbers = z.instanceof(Int32Array);
const itemised = z.record(z.string(), z.number().nonnegative());
const state = z.object({
  position: id,
  cacheBytes: id,
  scratchBytes: id,
  kernelMs: z.number().nonnegative().nullable(),
});
const adapter = z.object({ name: z.string(), backend: z.string(), isSoftware: z.boolean() });
/** What the window may answer: its page shows nothing of others, but a renderer is trusted less than this process. */
const results: { [N in keyof WindowCalls]: z.ZodType<WindowCalls[N]['result']> } = {
  'list-adapters': z.array(adapter),
  'describe-adapters': z.array(adapter.extend({ driver: z.string(), problem: z.string().nullable() })),
  load: z.object({
    model: id,
    kernelPath: z.string(),
    tokensPerChunk: z.int().positive(),
    memoryBytes: itemised,
    uploadMs: z.number().nonnegative(),
  }),
  'create-session': z.object({ session: id, state }),
  feed: z.object({ logits: floats.nullable(), state }),
  'feed-top': z.object({
    top: z.object({ ids: wholeNumbers, logits: floats, totalWeight: z.number().positive() }),
    state,
  }),
  'all-logits': floats,
  losses: z.object({ losses: floats, state }),
  'chunk-logits': floats,
  'measure-bandwidth': z.object({ bytesPerSecond: z.number().positive(), bufferBytes: id, passes: id }),
  reset: z.null(),
  'close-session': z.null(),
  'close-model': z.null(),
};

/** Calls of the window over its port. When the port closes, all of them end with `device-lost`. */
export class WindowConnection {
  readonly #port: Port;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  /** Packages that are being read, by the call that needs them. */
  readonly #packages = new Map<number, GpuPackage>();
  #lastId = 0;
  #isClosed = false;

  constructor(port: Port) {
    this.#port = port;
    port.onMessage((raw) => void this.#receive(raw));
    port.onClose(() => {
      this.#isClosed = true;
      for (const { reject } of this.#waiting.values()) reject(lost());
      this.#waiting.clear();
    });
  }

  /** Throws what the window says went wrong, and DBellError `device-lost` where it has gone. */
  async call<N extends keyof WindowCalls>(
    name: N,
    input: WindowCalls[N]['input'],
    source?: GpuPackage,
  ): Promise<WindowCalls[N]['result']> {
    return parseAs(results[name], await this.callAny(name, input, source), `answer to ${name}`, 'internal');
  }

  /** The same of a call by any name, unchecked. */
  async callAny(name: string, input: unknown, source?: GpuPackage): Promise<unknown> {
    if (this.#isClosed) throw lost();
    this.#lastId += 1;
    const callId = this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(callId, waiting);
    if (source) this.#packages.set(callId, source);
    this.#send({ type: 'call', id: callId, name, input });
    try {
      return await waiting.promise;
    } finally {
      this.#waiting.delete(callId);
      this.#packages.delete(callId);
    }
  }

  #send(message: ToWindow): void {
    this.#port.send(message);
  }

  async #receive(raw: unknown): Promise<void> {
    const parsed = fromWindowSchema.safeParse(raw);
    // What nobody understands is dropped.
    if (!parsed.success) return;
    const message = parsed.data;
    if (message.type === 'result') this.#waiting.get(message.id)?.resolve(message.result);
    else if (message.type === 'error') this.#waiting.get(message.id)?.reject(fromErrorPayload(message.error));
    else await this.#answerRead(message);
  }

  async #answerRead({
    call,
    id: readId,
    offset,
    length,
  }: {
    call: number;
    id: number;
    offset: number;
    length: number;
  }) {
    try {
      const source = this.#packages.get(call);
      if (!source) throw new DBellError('internal', 'the window read a package that it was not given');
      const bytes = await source.read({ name: 'weights', offset, valueBytes: length }, 0, length);
      this.#send({ type: 'bytes', id: readId, bytes });
    } catch (error) {
      this.#send({ type: 'no-bytes', id: readId, error: toErrorPayload(error) });
    }
  }
}

function lost(): DBellError {
  return new DBellError(
    'device-lost',
    'the window that computes on the GPU has gone; what was generated so far stands, start again to go on',
  );
}

/** A package as it crosses: its bytes are asked for. */
export function sentPackage({ path, description, isHeadTied }: GpuPackage): SentPackage {
  return { path, description, isHeadTied };
}

/** Runs packages in a window of the desktop program. `connect` is called when the first adapter is asked for. */
export function windowProvider(connect: () => Promise<Port>): GpuProvider {
  let connection: Promise<WindowConnection> | null = null;
  const connected = () => {
    connection ??= connect().then((port) => new WindowConnection(port));
    return connection;
  };
  return {
    listAdapters: async () => (await connected()).call('list-adapters', null),
    describeAdapters: async () => (await connected()).call('describe-adapters', null),
    load: async (index, source, options) => loadInWindow(await connected(), index, source, options),
  };
}

async function loadInWindow(
  connection: WindowConnection,
  index: number,
  source: GpuPackage,
  options: DeviceOptions,
): Promise<DeviceModel> {
  const { model, ...facts } = await connection.call(
    'load',
    { adapter: index, package: sentPackage(source), options },
    source,
  );
  const { vocabularySize } = source.description;
  return {
    ...facts,
    async createSession(contextLength) {
      const created = await connection.call('create-session', { model, contextLength });
      return new WindowSession(connection, created.session, vocabularySize, created.state);
    },
    measureBandwidth: () => connection.call('measure-bandwidth', { model }),
    close: () => forget(connection.call('close-model', { model })),
  };
}

class WindowSession implements DeviceSession {
  readonly #vocabularySize: number;
  readonly #connection: WindowConnection;
  readonly #session: number;
  #state: SessionState;

  constructor(connection: WindowConnection, session: number, vocabularySize: number, state: SessionState) {
    this.#connection = connection;
    this.#session = session;
    this.#vocabularySize = vocabularySize;
    this.#state = state;
  }

  get position(): number {
    return this.#state.position;
  }

  get cacheBytes(): number {
    return this.#state.cacheBytes;
  }

  get scratchBytes(): number {
    return this.#state.scratchBytes;
  }

  get kernelMs(): number | null {
    return this.#state.kernelMs;
  }

  async feed(ids: Int32Array, logits: Float32Array | null): Promise<void> {
    const wantsLogits = logits !== null;
    const result = await this.#connection.call('feed', {
      session: this.#session,
      // A view would take its whole buffer along.
      ids: ids.slice(),
      wantsLogits,
    });
    this.#state = result.state;
    if (logits) fill(logits, result.logits);
  }

  async feedTop(ids: Int32Array, request: TopRequest): Promise<TopLogits> {
    const session = this.#session;
    const { top, state } = await this.#connection.call('feed-top', { session, ids: ids.slice(), request });
    this.#state = state;
    const vocabularySize = this.#vocabularySize;
    const count = Math.min(request.count, vocabularySize);
    if (top.ids.length !== count || top.logits.length !== count)
      throw new DBellError(
        'internal',
        `the window answered with ${top.ids.length} of ${count} highest logits`,
      );
    const bad = top.ids.find((id) => id < 0 || id >= vocabularySize);
    if (bad !== undefined) throw new DBellError('internal', `the window answered with token id ${bad}`);
    const all = async () => {
      const logits = new Float32Array(vocabularySize);
      fill(logits, await this.#connection.call('all-logits', { session }));
      return logits;
    };
    return { ...top, all };
  }

  async losses(ids: Int32Array, targets: Int32Array): Promise<Float32Array> {
    const result = await this.#connection.call('losses', {
      session: this.#session,
      ids: ids.slice(),
      targets: targets.slice(),
    });
    this.#state = result.state;
    return result.losses;
  }

  async chunkLogits(chunkRows: number, firstRow: number, logits: Float32Array): Promise<void> {
    const count = logits.length / this.#vocabularySize;
    const session = this.#session;
    fill(logits, await this.#connection.call('chunk-logits', { session, chunkRows, firstRow, count }));
  }

  /** The calls that follow come behind it. */
  reset(): void {
    this.#state = { ...this.#state, position: 0 };
    forget(this.#connection.call('reset', { session: this.#session }));
  }

  close(): void {
    forget(this.#connection.call('close-session', { session: this.#session }));
  }
}

function fill(target: Float32Array, values: Float32Array | null): void {
  if (values?.length !== target.length)
    throw new DBellError('internal', `the window answered with ${values?.length ?? 'no'} logits`);
  target.set(values);
}

/** What goes wrong with it shows in the next call that is waited for. */
function forget(call: Promise<unknown>): void {
  call.catch(() => {});
}
