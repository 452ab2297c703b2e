import './no-telemetry.ts';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { FloatDevice } from '../contract/common.ts';
import { DBellError } from '../contract/errors.ts';

/** A dense tensor on its way into a graph; the data is not copied. */
export interface Feed {
  data: Float32Array | Int32Array;
  shape: readonly number[];
}

/**
 * One onnxruntime session. `run` blocks the calling thread until the graph is done, although it returns a promise, so this belongs into the
 * work process.
 */
export class GraphSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  private session: InferenceSession | null;
  private readonly subject: string;

  private constructor(session: InferenceSession, subject: string) {
    this.session = session;
    this.subject = subject;
    this.inputNames = session.inputNames;
    this.outputNames = session.outputNames;
  }

  /**
   * @param model ModelProto bytes
   * @param subject what the graph computes, for messages
   * @param threads threads of every operator, the caller included
   * @param device whose provider computes; what it lacks an operator for, onnxruntime computes on the CPU
   * @throws DBellError `gpu-unavailable` where the device's provider cannot be used
   */
  static async create(
    model: Uint8Array,
    subject: string,
    threads: number,
    device: FloatDevice = 'cpu',
  ): Promise<GraphSession> {
    try {
      const session = await InferenceSession.create(model, {
        executionProviders: [device],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // Planning memory by pattern made the peak 40 MB higher and nothing faster.
        enableMemPattern: false,
        // Warnings of the runtime's optimizer say nothing to a user.
        logSeverityLevel: 3,
        // Spinning threads take the core away from whoever has work: 11% slower on a shared machine.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      });
      return new GraphSession(session, subject);
    } catch (cause) {
      if (device !== 'cpu') throw unavailable(device, subject, cause);
      throw graphError(`cannot prepare ${subject}`, cause);
    }
  }

  /** Runs the graph; gives every output as float32, in fresh memory. */
  async run(feeds: Readonly<Record<string, Feed>>): Promise<Record<string, Float32Array>> {
    if (!this.session) throw new DBellError('internal', `${this.subject}: the session is closed`);
    const tensors: Record<string, Tensor> = {};
    for (const name of this.inputNames) {
      const feed = feeds[name];
      if (!feed) throw new DBellError('internal', `${this.subject}: input ${name} is missing`);
      const elements = feed.shape.reduce((product, extent) => product * extent, 1);
      if (feed.data.length !== elements)
        throw new DBellError(
          'internal',
          `${this.subject}: input ${name} has ${feed.data.length} values, its shape [${feed.shape.join(', ')}] needs ${elements}`,
        );
      tensors[name] =
        feed.data instanceof Float32Array
          ? new Tensor('float32', feed.data, feed.shape)
          : new Tensor('int32', feed.data, feed.shape);
    }
    let results: InferenceSession.ReturnType;
    try {
      results = await this.session.run(tensors);
    } catch (cause) {
      throw graphError(`${this.subject} failed`, cause);
    }
    const outputs: Record<string, Float32Array> = {};
    for (const name of this.outputNames) outputs[name] = results[name]!.data as Float32Array;
    return outputs;
  }

  async close(): Promise<void> {
    const { session } = this;
    this.session = null;
    await session?.release();
  }
}

function unavailable(device: FloatDevice, subject: string, cause: unknown): DBellError {
  const said = cause instanceof Error ? cause.message : String(cause);
  // In front of the reason stand the source file, the function and the condition.
  const reason = said.replace(/^\/\S+:\d+ .* was false\. /s, '').trim();
  return new DBellError(
    'gpu-unavailable',
    `onnxruntime's ${device} provider cannot be used (${subject}): ${reason}; without --float-device the processor computes`,
    { cause },
  );
}

function graphError(what: string, cause: unknown): DBellError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (/alloc/i.test(reason))
    return new DBellError(
      'out-of-memory',
      `${what}: not enough memory (${reason}); use a shorter context or fewer threads, or close other programs`,
      { cause },
    );
  return new DBellError('internal', `${what}: ${reason}`, { cause });
}
