import { DBellError } from '../../../contract/errors.ts';
import type { Port } from '../../../contract/port.ts';
import type { TopLogits } from '../../../model/top-logits.ts';
import type { NativeRange } from '../../../native/runtime.ts';
import type { DeviceModel, DeviceSession } from '../../device.ts';
import type { GpuHost } from '../adapters.ts';
import type { GpuPackage } from '../gpu-package.ts';
import { hostProvider } from '../provider.ts';
import type { FromWindow, SentPackage, SessionState, ToWindow, WindowCalls } from './protocol.ts';

/** What a call can do besides computing: read a package that the caller holds. */
export interface CallTools {
  open(sent: SentPackage): GpuPackage;
}
export type WindowHandler = (input: never, tools: CallTools) => Promise<unknown>;

interface ServedSession {
  session: DeviceSession;
  vocabularySize: number;
  /** What the last `feed-top` found. */
  top: TopLogits | null;
}

type Handlers = {
  [N in keyof WindowCalls]: (
    input: WindowCalls[N]['input'],
    tools: CallTools,
  ) => Promise<WindowCalls[N]['result']>;
};

/**
 * Serves a host's adapters over a port, in the window's page. Everything is let go of when the port closes. `more` are calls of tests.
 */
export function serveWindow(port: Port, host: GpuHost, more: Record<string, WindowHandler> = {}): void {
  const models = new Map<number, { model: DeviceModel; vocabularySize: number }>();
  const sessions = new Map<number, ServedSession>();
  const reads = new Map<number, PromiseWithResolvers<Uint8Array>>();
  let lastId = 0;
  const send = (message: FromWindow) => port.send(message);
  const keep = <T>(map: Map<number, T>, value: T): number => {
    lastId += 1;
    map.set(lastId, value);
    return lastId;
  };
  const provider = hostProvider(host, { keepsContexts: true });

  const handlers: Handlers = {
    'list-adapters': () => provider.listAdapters(),
    'describe-adapters': () => provider.describeAdapters(),
    async load({ adapter, package: sent, options }, tools) {
      const model = await provider.load(adapter, tools.open(sent), options);
      const { kernelPath, tokensPerChunk, memoryBytes, uploadMs = 0 } = model;
      const { vocabularySize } = sent.description;
      return {
        model: keep(models, { model, vocabularySize }),
        kernelPath,
        tokensPerChunk,
        memoryBytes,
        uploadMs,
      };
    },
    async 'create-session'({ model, contextLength }) {
      const { model: loaded, vocabularySize } = of(models, model);
      const session = await loaded.createSession(contextLength);
      const served: ServedSession = { session, vocabularySize, top: null };
      return { session: keep(sessions, served), state: stateOf(session) };
    },
    async feed({ session: id, ids, wantsLogits }) {
      const { session, vocabularySize } = of(sessions, id);
      const logits = wantsLogits ? new Float32Array(vocabularySize) : null;
      await session.feed(ids, logits);
      return { logits, state: stateOf(session) };
    },
    async 'feed-top'({ session: id, ids, request }) {
      const served = of(sessions, id);
      const top = await served.session.feedTop?.(ids, request);
      if (!top) throw new DBellError('internal', 'this device tells no highest logits');
      served.top = top;
      const { logits, totalWeight } = top;
      return { top: { ids: top.ids, logits, totalWeight }, state: stateOf(served.session) };
    },
    async 'all-logits'({ session: id }) {
      const { top } = of(sessions, id);
      if (!top) throw new DBellError('internal', 'no highest logits were asked for before all of them');
      return top.all();
    },
    async losses({ session: id, ids, targets }) {
      const { session } = of(sessions, id);
      return { losses: await session.losses(ids, targets), state: stateOf(session) };
    },
    async 'chunk-logits'({ session: id, chunkRows, firstRow, count }) {
      const { session, vocabularySize } = of(sessions, id);
      const logits = new Float32Array(count * vocabularySize);
      await session.chunkLogits(chunkRows, firstRow, logits);
      return logits;
    },
    async 'measure-bandwidth'({ model }) {
      const measured = await of(models, model).model.measureBandwidth?.();
      if (!measured) throw new DBellError('internal', 'this device measures no memory');
      return measured;
    },
    async reset({ session }) {
      of(sessions, session).session.reset();
      return null;
    },
    async 'close-session'({ session }) {
      of(sessions, session).session.close();
      sessions.delete(session);
      return null;
    },
    async 'close-model'({ model }) {
      of(models, model).model.close();
      models.delete(model);
      return null;
    },
  };
  const all = new Map<string, WindowHandler>([
    ...(Object.entries(handlers) as [string, WindowHandler][]),
    ...Object.entries(more),
  ]);

  const toolsOf = (call: number): CallTools => ({
    open: (sent) => ({
      ...sent,
      read: ({ offset }: NativeRange, begin, length) => {
        const waiting = Promise.withResolvers<Uint8Array>();
        const id = keep(reads, waiting);
        send({ type: 'read', call, id, offset: offset + begin, length });
        return waiting.promise;
      },
    }),
  });
  const answer = async (id: number, name: string, input: unknown) => {
    try {
      const handler = all.get(name);
      if (!handler) throw new DBellError('internal', `the window knows no call ${name}`);
      send({ type: 'result', id, result: await handler(input as never, toolsOf(id)) });
    } catch (error) {
      const { code, message } =
        error instanceof DBellError ? error : { code: 'internal' as const, message: String(error) };
      send({ type: 'error', id, error: { code, message } });
    }
  };
  port.onMessage((raw) => {
    const message = raw as ToWindow;
    if (message.type === 'call') {
      void answer(message.id, message.name, message.input);
      return;
    }
    const waiting = reads.get(message.id);
    reads.delete(message.id);
    if (message.type === 'bytes') waiting?.resolve(message.bytes);
    else waiting?.reject(new DBellError(message.error.code, message.error.message));
  });
  port.onClose(() => {
    for (const { session } of sessions.values()) session.close();
    for (const { model } of models.values()) model.close();
    for (const { reject } of reads.values())
      reject(new DBellError('connection-lost', 'the work process has gone'));
  });
}

function of<T>(map: Map<number, T>, id: number): T {
  const found = map.get(id);
  if (found === undefined)
    throw new DBellError('internal', `the window has no model or session number ${id}`);
  return found;
}

function stateOf({ position, cacheBytes, scratchBytes, kernelMs = null }: DeviceSession): SessionState {
  return { position, cacheBytes, scratchBytes, kernelMs };
}
